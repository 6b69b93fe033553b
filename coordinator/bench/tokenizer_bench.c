#include "coordinator/bench/tokenizer_bench.h"

#include <math.h>

#include "coordinator/clock.h"
#include "coordinator/text/text_file.h"
#include "coordinator/text/tokenizer.h"

#define TURNS 5

/* The shortest time of an action so far. */
static void keep_best(double begun, double *best)
{
    *best = fmin(*best, shoal_clock_seconds() - begun);
}

/* The tokenizer that was opened last stays open. */
static shoal_status time_open(const char *model, double *best, shoal_tokenizer **out)
{
    shoal_tokenizer *t = NULL;
    for (int turn = 0; turn < TURNS; turn++) {
        shoal_tokenizer_close(t);
        const double begun = shoal_clock_seconds();
        SHOAL_TRY(shoal_tokenizer_open(model, &t));
        keep_best(begun, best);
    }
    *out = t;
    return SHOAL_OK;
}

static shoal_status time_encode(const shoal_tokenizer *t, const shoal_strbuf *text, double *best,
                                shoal_ids *ids)
{
    for (int turn = 0; turn < TURNS; turn++) {
        ids->count = 0;
        const double begun = shoal_clock_seconds();
        SHOAL_TRY(shoal_tokenizer_encode(t, text->data, text->bytes, 0, ids));
        keep_best(begun, best);
    }
    return SHOAL_OK;
}

static shoal_status time_decode(const shoal_tokenizer *t, const shoal_ids *ids, double *best,
                                shoal_strbuf *out)
{
    for (int turn = 0; turn < TURNS; turn++) {
        out->bytes = 0;
        const double begun = shoal_clock_seconds();
        SHOAL_TRY(shoal_tokenizer_decode(t, ids->data, ids->count, false, out));
        keep_best(begun, best);
    }
    return SHOAL_OK;
}

static shoal_status add_rows(shoal_bench_rows *rows, double open, double encode, double decode,
                             size_t bytes, size_t tokens)
{
    const double mb = (double)bytes / 1e6;
    SHOAL_TRY(shoal_bench_rows_add(rows, open * 1e3, "ms", NAN, "tokenizer.open"));
    SHOAL_TRY(shoal_bench_rows_add(rows, mb / encode, "MB/s", NAN, "tokenizer.encode"));
    SHOAL_TRY(shoal_bench_rows_add(rows, mb / decode, "MB/s", NAN, "tokenizer.decode"));
    return shoal_bench_rows_add(rows, (double)tokens, "tokens", NAN, "tokenizer.tokens");
}

shoal_status shoal_bench_tokenizer_run(const char *model, const char *path, shoal_bench_rows *rows)
{
    shoal_status st = SHOAL_OK;
    double open = INFINITY, encode = INFINITY, decode = INFINITY;
    shoal_tokenizer *t = NULL;
    shoal_strbuf text = {0}, out = {0};
    shoal_ids ids = {0};
    SHOAL_TRY_GOTO(shoal_text_file_read(path, SHOAL_BENCH_TEXT_MAX, &text), done);
    if (text.bytes == 0) {
        st = shoal_fail(SHOAL_ERR_DATA, "%s: an empty text", path);
        goto done;
    }
    SHOAL_TRY_GOTO(time_open(model, &open, &t), done);
    SHOAL_TRY_GOTO(time_encode(t, &text, &encode, &ids), done);
    SHOAL_TRY_GOTO(time_decode(t, &ids, &decode, &out), done);
    st = add_rows(rows, open, encode, decode, text.bytes, ids.count);
done:
    shoal_strbuf_free(&out);
    shoal_ids_free(&ids);
    shoal_strbuf_free(&text);
    shoal_tokenizer_close(t);
    return st;
}
