#include "coordinator/text/speech_message.h"

#include "proto/arena.h"

static void free_last_call(shoal_speech_message *m)
{
    shoal_speech_call *call = &m->calls[--m->call_count];
    shoal_strbuf_free(&call->name);
    shoal_strbuf_free(&call->arguments);
}

static shoal_status begin_call(shoal_speech_message *m, int number)
{
    if (m->call_count == m->call_room) {
        void *block = m->calls;
        const size_t room = m->call_room ? 2 * m->call_room : 4;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, room, sizeof *m->calls, &block));
        m->calls = block;
        m->call_room = room;
    }
    m->calls[m->call_count++] = (shoal_speech_call){.number = number};
    return SHOAL_OK;
}

static shoal_status collect(shoal_speech_message *m, const shoal_speech_piece *piece,
                            const char *text)
{
    shoal_strbuf *target = &m->content;
    if (piece->kind == SHOAL_SPEECH_NO_CALL) {
        free_last_call(m);
        return SHOAL_OK;
    }
    if (piece->kind == SHOAL_SPEECH_CALL)
        SHOAL_TRY(begin_call(m, piece->call));
    if (piece->kind == SHOAL_SPEECH_REASONING)
        target = &m->reasoning;
    else if (piece->kind == SHOAL_SPEECH_CALL)
        target = &m->calls[m->call_count - 1].name;
    else if (piece->kind == SHOAL_SPEECH_ARGUMENTS)
        target = &m->calls[m->call_count - 1].arguments;
    return shoal_strbuf_append(target, text, piece->bytes);
}

shoal_status shoal_speech_collect(shoal_speech_message *m, const char *text,
                                  const shoal_speech_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        SHOAL_TRY(collect(m, &pieces[i], text + pieces[i].begin));
    return SHOAL_OK;
}

void shoal_speech_message_free(shoal_speech_message *m)
{
    while (m->call_count)
        free_last_call(m);
    shoal_free(m->calls);
    shoal_strbuf_free(&m->content);
    shoal_strbuf_free(&m->reasoning);
    *m = (shoal_speech_message){0};
}
