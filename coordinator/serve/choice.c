#include "coordinator/serve/choice.h"

#include <string.h>

#include "coordinator/serve/stop_search.h"
#include "proto/arena.h"

/* Where a kept token lies in the text: it is let go once `until` bytes may be sent, and dropped
 * when the text is cut at or before `from`. */
typedef struct {
    uint64_t from, until;
} extent;

/* Positions count bytes of the whole text; the buffer holds those that were not taken. */
struct shoal_choice {
    const shoal_api_request *request;
    const shoal_tokenizer *tokenizer;
    shoal_detok *detok; /* NULL: no text */
    shoal_stop_search search;
    int index;
    shoal_finish finish;
    int64_t sampled, chars; /* tokens so far; characters of prompt and text */
    double logprob_sum;
    shoal_strbuf text;
    uint64_t text_start; /* position of text.data[0] */
    uint64_t sendable;   /* position up to which text may be sent */
    size_t text_taken;   /* of the buffer, until it is moved up */
    shoal_choice_token *tokens;
    extent *extents;
    size_t token_count, token_capacity, tokens_taken;
};

static shoal_status reserve_token(shoal_choice *c)
{
    if (c->token_count < c->token_capacity)
        return SHOAL_OK;
    const size_t wanted = c->token_capacity ? 2 * c->token_capacity : 8;
    void *tokens = c->tokens, *extents = c->extents;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *c->tokens, &tokens));
    c->tokens = tokens;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *c->extents, &extents));
    c->extents = extents;
    c->token_capacity = wanted;
    return SHOAL_OK;
}

shoal_status shoal_choice_create(const shoal_api_request *request, const shoal_tokenizer *tokenizer,
                                 int index, int64_t prompt_text_chars, shoal_choice **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_choice), &block));
    shoal_choice *c = block;
    c->request = request;
    c->tokenizer = tokenizer;
    c->index = index;
    c->chars = prompt_text_chars;
    shoal_stop_search_init(&c->search, request->stops, request->stop_count);
    if (tokenizer)
        SHOAL_TRY_GOTO(shoal_detok_create(tokenizer, false, &c->detok), fail);
    /* An address also for no bytes and no tokens. */
    SHOAL_TRY_GOTO(shoal_strbuf_reserve(&c->text, 1), fail);
    if (request->logprobs)
        SHOAL_TRY_GOTO(reserve_token(c), fail);
    *out = c;
    return SHOAL_OK;
fail:
    shoal_choice_destroy(c);
    return st;
}

void shoal_choice_destroy(shoal_choice *choice)
{
    if (!choice)
        return;
    shoal_free(choice->extents);
    shoal_free(choice->tokens);
    shoal_strbuf_free(&choice->text);
    shoal_detok_destroy(choice->detok);
    shoal_free(choice);
}

/* ---- what was taken makes room ---- */

static void drop_taken(shoal_choice *c)
{
    if (c->text_taken) {
        c->text.bytes -= c->text_taken;
        memmove(c->text.data, c->text.data + c->text_taken, c->text.bytes);
        c->text_start += c->text_taken;
        c->text_taken = 0;
    }
    if (c->tokens_taken) {
        c->token_count -= c->tokens_taken;
        memmove(c->tokens, c->tokens + c->tokens_taken, c->token_count * sizeof *c->tokens);
        memmove(c->extents, c->extents + c->tokens_taken, c->token_count * sizeof *c->extents);
        c->tokens_taken = 0;
    }
}

/* ---- tokens ---- */

static uint64_t text_end(const shoal_choice *c)
{
    return c->text_start + c->text.bytes;
}

/* `bytes` of text came with the token and are in the buffer already. */
static void keep_token(shoal_choice *c, const shoal_choice_token *token, int64_t chars_before,
                       size_t bytes)
{
    const uint64_t end = text_end(c);
    c->tokens[c->token_count] = *token;
    c->tokens[c->token_count].text_offset = chars_before;
    c->extents[c->token_count] = (extent){end - bytes, bytes ? end : end + 1};
    c->token_count++;
}

/* ---- text ---- */

/* Special tokens have no text, except marks that tell content from calls and reasoning. */
static bool has_text(const shoal_choice *c, int32_t token)
{
    size_t bytes;
    if (!c->detok || !shoal_tokenizer_is_special(c->tokenizer, token))
        return c->detok != NULL;
    const char *piece = shoal_tokenizer_piece(c->tokenizer, token, &bytes);
    return shoal_speech_wants(&c->request->speech, piece, bytes);
}

static int64_t count_chars(const char *text, size_t bytes)
{
    int64_t chars = 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((unsigned char)text[i] & 0xC0) != 0x80;
    return chars;
}

static void end_here(shoal_choice *c, shoal_finish finish)
{
    c->finish = finish;
    c->sendable = text_end(c);
}

/* The choice ends at this position: neither text nor tokens behind it exist. */
static void cut(shoal_choice *c, uint64_t position)
{
    c->text.bytes = (size_t)(position - c->text_start);
    while (c->token_count && c->extents[c->token_count - 1].from >= position)
        c->token_count--;
    end_here(c, SHOAL_FINISH_STOP);
}

/* Text that is in the buffer already, `bytes` at its end, is searched: what of it may be sent? The
 * choice is cut if a stop string is complete. */
static void search(shoal_choice *c, size_t bytes)
{
    const size_t before = c->text.bytes - bytes;
    const bool counts = c->sampled > c->request->min_tokens;
    size_t end, length;
    if (shoal_stop_search_feed(&c->search, c->text.data + before, bytes, counts, &end, &length))
        cut(c, c->text_start + before + end - length);
    else
        c->sendable = text_end(c) - shoal_stop_search_held(&c->search);
}

shoal_status shoal_choice_push(shoal_choice *c, const shoal_choice_token *token, bool hidden,
                               bool *stopped)
{
    const char *text = NULL;
    size_t bytes = 0;
    const int64_t chars_before = c->chars;
    if (c->finish != SHOAL_FINISH_NONE)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a token for a choice that is finished");
    drop_taken(c);
    if (!hidden) {
        if (c->request->logprobs)
            SHOAL_TRY(reserve_token(c));
        if (has_text(c, token->token))
            SHOAL_TRY(shoal_detok_push(c->detok, token->token, &text, &bytes));
        SHOAL_TRY(shoal_strbuf_append(&c->text, text, bytes));
        c->chars += count_chars(text, bytes);
        if (c->request->logprobs)
            keep_token(c, token, chars_before, bytes);
    }
    c->sampled++;
    c->logprob_sum += (double)token->logprob;
    if (hidden)
        SHOAL_TRY(shoal_choice_finish(c, SHOAL_FINISH_STOP));
    else
        search(c, bytes);
    *stopped = c->finish != SHOAL_FINISH_NONE;
    return SHOAL_OK;
}

shoal_status shoal_choice_finish(shoal_choice *c, shoal_finish finish)
{
    const char *text = NULL;
    size_t bytes = 0;
    if (c->finish != SHOAL_FINISH_NONE)
        return SHOAL_OK;
    drop_taken(c);
    if (c->detok)
        SHOAL_TRY(shoal_detok_flush(c->detok, &text, &bytes));
    SHOAL_TRY(shoal_strbuf_append(&c->text, text, bytes));
    search(c, bytes);
    if (c->finish == SHOAL_FINISH_NONE)
        end_here(c, finish);
    return SHOAL_OK;
}

void shoal_choice_take(shoal_choice *c, const char **text, size_t *bytes,
                       const shoal_choice_token **tokens, int *count)
{
    drop_taken(c);
    const bool ended = c->finish != SHOAL_FINISH_NONE;
    c->text_taken = (size_t)(c->sendable - c->text_start);
    while (c->tokens_taken < c->token_count &&
           (ended || c->extents[c->tokens_taken].until <= c->sendable))
        c->tokens_taken++;
    *text = c->text.data;
    *bytes = c->text_taken;
    *tokens = c->tokens;
    *count = (int)c->tokens_taken;
}

/* ---- questions ---- */

int shoal_choice_index(const shoal_choice *choice)
{
    return choice->index;
}

shoal_finish shoal_choice_finished(const shoal_choice *choice)
{
    return choice->finish;
}

int64_t shoal_choice_tokens(const shoal_choice *choice)
{
    return choice->sampled;
}

double shoal_choice_logprob_sum(const shoal_choice *choice)
{
    return choice->logprob_sum;
}
