/* libFuzzer target: what a server under load answers, HTTP framing and events.
 *
 * The first byte is the size of the pieces in which the rest arrives. The pieces change nothing:
 * whole or in pieces, an answer has the same verdict, the same body and the same events. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/bench/events.h"
#include "coordinator/bench/response.h"
#include "proto/arena.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that was understood, one after the other. */
typedef struct {
    shoal_status verdict;
    shoal_strbuf told;
} reading;

static void take_events(shoal_bench_events *events, reading *r)
{
    const char *data;
    size_t bytes;
    do {
        r->verdict = shoal_bench_events_next(events, &data, &bytes);
        if (r->verdict == SHOAL_OK && data) {
            must(shoal_strbuf_append(&r->told, data, bytes) == SHOAL_OK);
            must(shoal_strbuf_append(&r->told, "", 1) == SHOAL_OK);
        }
    } while (r->verdict == SHOAL_OK && data);
}

static reading read_in_pieces(const char *data, size_t size, size_t step)
{
    reading r = {0};
    shoal_bench_response response = {0};
    shoal_bench_events events = {0};
    for (size_t at = 0; at < size && r.verdict == SHOAL_OK; at += step) {
        const size_t part = size - at < step ? size - at : step;
        r.verdict = shoal_bench_response_feed(&response, data + at, part, &events.text);
        /* What came before a fault counts. */
        const shoal_status fed = r.verdict;
        take_events(&events, &r);
        r.verdict = fed != SHOAL_OK ? fed : r.verdict;
    }
    if (r.verdict == SHOAL_OK)
        r.verdict = shoal_bench_response_end(&response);
    must(r.verdict == SHOAL_OK || r.verdict == SHOAL_ERR_DATA);
    shoal_bench_response_free(&response);
    shoal_bench_events_free(&events);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    reading whole = read_in_pieces(text, size - 1, size - 1);
    reading pieces = read_in_pieces(text, size - 1, (size_t)data[0] + 1);
    must(whole.verdict == pieces.verdict && whole.told.bytes == pieces.told.bytes);
    must(whole.told.bytes == 0 || memcmp(whole.told.data, pieces.told.data, whole.told.bytes) == 0);
    shoal_strbuf_free(&whole.told);
    shoal_strbuf_free(&pieces.told);
    must(shoal_mem_live(SHOAL_MEM_TEXT) == 0);
    return 0;
}
