#include "coordinator/text/speech_pieces.h"

#include <stdbool.h>

#include "proto/arena.h"

static shoal_status reserve(shoal_speech_pieces *p)
{
    void *block = p->data;
    if (p->count < p->capacity)
        return SHOAL_OK;
    const size_t wanted = p->capacity ? 2 * p->capacity : 8;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *p->data, &block));
    p->data = block;
    p->capacity = wanted;
    return SHOAL_OK;
}

shoal_status shoal_speech_add(shoal_speech_pieces *p, shoal_speech_kind kind, int call,
                              const char *text, size_t bytes)
{
    const bool speaks = kind == SHOAL_SPEECH_CALL || kind == SHOAL_SPEECH_NO_CALL;
    if (bytes == 0 && !speaks)
        return SHOAL_OK;
    SHOAL_TRY(reserve(p));
    SHOAL_TRY(shoal_strbuf_append(&p->text, text, bytes));
    shoal_speech_piece *last = p->count ? &p->data[p->count - 1] : NULL;
    if (last && !speaks && last->kind == kind && last->call == call)
        last->bytes += bytes;
    else
        p->data[p->count++] = (shoal_speech_piece){kind, call, p->text.bytes - bytes, bytes};
    return SHOAL_OK;
}

void shoal_speech_clear(shoal_speech_pieces *p)
{
    p->text.bytes = 0;
    p->count = 0;
}

void shoal_speech_pieces_free(shoal_speech_pieces *p)
{
    shoal_strbuf_free(&p->text);
    shoal_free(p->data);
    *p = (shoal_speech_pieces){0};
}
