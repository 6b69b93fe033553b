/* coordinator/bench/tokenizer_bench.h - how fast a tokenizer opens, encodes and decodes: one
 * thread, one text as a whole, the best of some turns.
 *
 * Rows: tokenizer.open (ms, the file in the page cache), tokenizer.encode and tokenizer.decode (MB
 * of the text per second), tokenizer.tokens. There is no yardstick: scripts/bench_text puts another
 * library beside it. */
#ifndef SHOAL_COORDINATOR_BENCH_TOKENIZER_BENCH_H
#define SHOAL_COORDINATOR_BENCH_TOKENIZER_BENCH_H

#include "coordinator/bench/rows.h"

#define SHOAL_BENCH_TEXT_MAX (256u << 20) /* bytes of the text */

/* `model` as for shoal_tokenizer_open; `path` is a file of UTF-8. SHOAL_ERR_DATA when it is empty.
 */
SHOAL_MUST_USE shoal_status shoal_bench_tokenizer_run(const char *model, const char *path,
                                                      shoal_bench_rows *rows);

#endif
