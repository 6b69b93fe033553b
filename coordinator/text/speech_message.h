/* coordinator/text/speech_message.h - the pieces of a model's text collected into one message.
 *
 * All zero is an empty one. Fails only with SHOAL_ERR_TEMPORARY. */
#ifndef SHOAL_COORDINATOR_TEXT_SPEECH_MESSAGE_H
#define SHOAL_COORDINATOR_TEXT_SPEECH_MESSAGE_H

#include <stddef.h>

#include "coordinator/text/speech_pieces.h"

typedef struct {
    int number; /* as numbered by the pieces */
    shoal_strbuf name, arguments;
} shoal_speech_call;

typedef struct {
    shoal_strbuf content, reasoning;
    shoal_speech_call *calls; /* [call_count] */
    size_t call_count, call_room;
} shoal_speech_message;

/* `text`: what the pieces are parts of. */
SHOAL_MUST_USE shoal_status shoal_speech_collect(shoal_speech_message *message, const char *text,
                                                 const shoal_speech_piece *pieces, size_t count);
void shoal_speech_message_free(shoal_speech_message *message);

#endif
