#include "coordinator/serve/api_answer.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/serve/json_write.h"
#include "coordinator/text/utf8.h"
#include "proto/digest.h"

/* ---- parts of all answers ---- */

static void write_head(shoal_json_writer *w, const shoal_answer_head *head, const char *object)
{
    shoal_write_key_word(w, "id", head->id);
    shoal_write_key_word(w, "object", object);
    shoal_write_key_int(w, "created", head->created);
    shoal_write_key_word(w, "model", head->model);
}

static void write_fingerprint(shoal_json_writer *w, const shoal_answer_head *head)
{
    shoal_write_key_word(w, "system_fingerprint", head->fingerprint);
}

static void write_usage(shoal_json_writer *w, const shoal_usage *usage)
{
    shoal_write_key_open(w, "usage", '{');
    shoal_write_key_int(w, "prompt_tokens", usage->prompt_tokens);
    shoal_write_key_int(w, "completion_tokens", usage->completion_tokens);
    shoal_write_key_int(w, "total_tokens", usage->prompt_tokens + usage->completion_tokens);
    if (usage->cached_tokens > 0) {
        shoal_write_key_open(w, "prompt_tokens_details", '{');
        shoal_write_key_int(w, "cached_tokens", usage->cached_tokens);
        shoal_write_close(w, '}');
    }
    shoal_write_close(w, '}');
}

static void write_finish(shoal_json_writer *w, shoal_finish finish)
{
    shoal_write_key(w, "finish_reason");
    switch (finish) {
    case SHOAL_FINISH_NONE: shoal_write_literal(w, "null"); break;
    case SHOAL_FINISH_STOP: shoal_write_word(w, "stop"); break;
    case SHOAL_FINISH_LENGTH: shoal_write_word(w, "length"); break;
    case SHOAL_FINISH_ERROR: shoal_write_word(w, "error"); break;
    case SHOAL_FINISH_TOOL_CALLS: shoal_write_word(w, "tool_calls"); break;
    }
}

/* ---- log-probabilities ---- */

/* What a token looks like: `bytes` is what it adds to the text (nothing for a special token),
 * `text` is for people: a special token's name, U+FFFD for what is no character by itself. */
typedef struct {
    shoal_strbuf bytes, text;
} token_look;

static void look_free(token_look *look)
{
    shoal_strbuf_free(&look->bytes);
    shoal_strbuf_free(&look->text);
}

/* The end of a character that began in an earlier token is one U+FFFD, not one per byte. */
static shoal_status show_bytes(const shoal_strbuf *bytes, shoal_strbuf *text)
{
    size_t rest = 0, used;
    if (bytes->bytes == 0)
        return SHOAL_OK;
    while (rest < bytes->bytes && ((unsigned char)bytes->data[rest] & 0xC0) == 0x80)
        rest++;
    if (rest)
        SHOAL_TRY(shoal_strbuf_append(text, "\xEF\xBF\xBD", 3));
    return shoal_utf8_repair(bytes->data + rest, bytes->bytes - rest, true, text, &used);
}

static shoal_status look_at(const shoal_tokenizer *tokenizer, int32_t token, token_look *look)
{
    char number[32];
    look->bytes.bytes = look->text.bytes = 0;
    if (!tokenizer) {
        snprintf(number, sizeof number, "token_id:%d", token);
        return shoal_strbuf_append(&look->text, number, strlen(number));
    }
    SHOAL_TRY(shoal_tokenizer_bytes(tokenizer, token, &look->bytes));
    SHOAL_TRY(show_bytes(&look->bytes, &look->text));
    if (shoal_tokenizer_is_special(tokenizer, token))
        look->bytes.bytes = 0;
    return SHOAL_OK;
}

/* As look_at, with the failure left in the writer. */
static void look_for(shoal_json_writer *w, const shoal_tokenizer *tokenizer, int32_t token,
                     token_look *look)
{
    if (w->status == SHOAL_OK)
        w->status = look_at(tokenizer, token, look);
}

static void write_look(shoal_json_writer *w, const token_look *look, float logprob)
{
    shoal_write_key(w, "token");
    shoal_write_text(w, look->text.data, look->text.bytes);
    shoal_write_key(w, "logprob");
    shoal_write_float(w, logprob);
    shoal_write_key_open(w, "bytes", '[');
    for (size_t i = 0; i < look->bytes.bytes; i++)
        shoal_write_int(w, (unsigned char)look->bytes.data[i]);
    shoal_write_close(w, ']');
}

static int alternatives(const shoal_answer_choice *choice, const shoal_choice_token *token)
{
    return choice->top_logprobs < token->top_count ? choice->top_logprobs : token->top_count;
}

static void write_chat_logprobs(shoal_json_writer *w, const shoal_answer_head *head,
                                const shoal_answer_choice *choice)
{
    token_look look = {0};
    shoal_write_open(w, '{');
    shoal_write_key_open(w, "content", '[');
    for (int i = 0; i < choice->token_count; i++) {
        const shoal_choice_token *token = &choice->tokens[i];
        shoal_write_open(w, '{');
        look_for(w, head->tokenizer, token->token, &look);
        write_look(w, &look, token->logprob);
        shoal_write_key_open(w, "top_logprobs", '[');
        for (int k = 0; k < alternatives(choice, token); k++) {
            shoal_write_open(w, '{');
            look_for(w, head->tokenizer, token->top_ids[k], &look);
            write_look(w, &look, token->top_logprobs[k]);
            shoal_write_close(w, '}');
        }
        shoal_write_close(w, ']');
        shoal_write_close(w, '}');
    }
    shoal_write_close(w, ']');
    shoal_write_key_null(w, "refusal");
    shoal_write_close(w, '}');
    look_free(&look);
}

/* Completions have parallel lists. */

static void write_tokens(shoal_json_writer *w, const shoal_answer_head *head,
                         const shoal_answer_choice *choice)
{
    token_look look = {0};
    shoal_write_key_open(w, "tokens", '[');
    for (int i = 0; i < choice->token_count; i++) {
        look_for(w, head->tokenizer, choice->tokens[i].token, &look);
        shoal_write_text(w, look.text.data, look.text.bytes);
    }
    shoal_write_close(w, ']');
    look_free(&look);
}

/* An entry of a map from text to log-probability, unless the text has one already: several tokens
 * may look alike. */
static void write_entry(shoal_json_writer *w, const token_look *looks, int index, float logprob)
{
    const shoal_strbuf *text = &looks[index].text;
    for (int i = 0; i < index; i++)
        if (looks[i].text.bytes == text->bytes &&
            (text->bytes == 0 || memcmp(looks[i].text.data, text->data, text->bytes) == 0))
            return;
    shoal_write_key_text(w, text->data, text->bytes);
    shoal_write_float(w, logprob);
}

/* The best tokens, and the chosen one if it is not among them. */
static void write_top(shoal_json_writer *w, const shoal_answer_head *head,
                      const shoal_answer_choice *choice, const shoal_choice_token *token,
                      token_look looks[SHOAL_LOGPROBS_MAX + 1])
{
    const int count = alternatives(choice, token);
    bool chosen = false;
    shoal_write_open(w, '{');
    for (int k = 0; k < count; k++) {
        look_for(w, head->tokenizer, token->top_ids[k], &looks[k]);
        write_entry(w, looks, k, token->top_logprobs[k]);
        chosen = chosen || token->top_ids[k] == token->token;
    }
    if (!chosen) {
        look_for(w, head->tokenizer, token->token, &looks[count]);
        write_entry(w, looks, count, token->logprob);
    }
    shoal_write_close(w, '}');
}

static void write_completion_logprobs(shoal_json_writer *w, const shoal_answer_head *head,
                                      const shoal_answer_choice *choice)
{
    token_look looks[SHOAL_LOGPROBS_MAX + 1] = {0};
    shoal_write_open(w, '{');
    write_tokens(w, head, choice);
    shoal_write_key_open(w, "token_logprobs", '[');
    for (int i = 0; i < choice->token_count; i++)
        shoal_write_float(w, choice->tokens[i].logprob);
    shoal_write_close(w, ']');
    shoal_write_key_open(w, "top_logprobs", '[');
    for (int i = 0; i < choice->token_count; i++)
        write_top(w, head, choice, &choice->tokens[i], looks);
    shoal_write_close(w, ']');
    shoal_write_key_open(w, "text_offset", '[');
    for (int i = 0; i < choice->token_count; i++)
        shoal_write_int(w, choice->tokens[i].text_offset);
    shoal_write_close(w, ']');
    shoal_write_close(w, '}');
    for (int k = 0; k <= SHOAL_LOGPROBS_MAX; k++)
        look_free(&looks[k]);
}

static void write_logprobs(shoal_json_writer *w, const shoal_answer_head *head,
                           const shoal_answer_choice *choice)
{
    shoal_write_key(w, "logprobs");
    if (!choice->tokens)
        shoal_write_literal(w, "null");
    else
        (head->chat ? write_chat_logprobs : write_completion_logprobs)(w, head, choice);
}

/* ---- calls ---- */

#define CALL_ID_BYTES 9

/* Nine letters and digits: templates of Mistral take nothing else. The same answer has the same
 * ids. */
static void write_call_id(shoal_json_writer *w, const shoal_answer_head *head, int index, int call)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char from[96], id[CALL_ID_BYTES + 1] = {0};
    uint8_t hash[SHOAL_XXH128_BYTES];
    uint64_t number;
    (void)snprintf(from, sizeof from, "%d %d %.64s", index, call, head->id);
    shoal_xxh128(from, strlen(from), hash);
    memcpy(&number, hash, sizeof number);
    for (int i = 0; i < CALL_ID_BYTES; i++, number /= sizeof letters - 1)
        id[i] = letters[number % (sizeof letters - 1)];
    shoal_write_key_word(w, "id", id);
}

/* The beginning of a call's object, up to its arguments. */
static void open_call(shoal_json_writer *w, const shoal_answer_head *head, int index, int call,
                      const char *name, size_t bytes)
{
    write_call_id(w, head, index, call);
    shoal_write_key_word(w, "type", "function");
    shoal_write_key_open(w, "function", '{');
    shoal_write_key(w, "name");
    shoal_write_text(w, name, bytes);
    shoal_write_key(w, "arguments");
}

static void write_calls(shoal_json_writer *w, const shoal_answer_head *head, int index,
                        const shoal_speech_message *message)
{
    shoal_write_key_open(w, "tool_calls", '[');
    for (size_t i = 0; i < message->call_count; i++) {
        const shoal_speech_call *call = &message->calls[i];
        shoal_write_open(w, '{');
        open_call(w, head, index, call->number, call->name.data, call->name.bytes);
        shoal_write_text(w, call->arguments.data, call->arguments.bytes);
        shoal_write_close(w, '}');
        shoal_write_close(w, '}');
    }
    shoal_write_close(w, ']');
}

/* ---- whole answers ---- */

/* Content is null when the answer says something else instead. */
static void write_message(shoal_json_writer *w, const shoal_answer_head *head,
                          const shoal_answer_choice *choice)
{
    const shoal_speech_message *m = choice->message;
    const bool reasons = m && m->reasoning.bytes > 0, calls = m && m->call_count > 0;
    shoal_write_key_open(w, "message", '{');
    shoal_write_key_word(w, "role", "assistant");
    if (reasons) {
        shoal_write_key(w, "reasoning_content");
        shoal_write_text(w, m->reasoning.data, m->reasoning.bytes);
    }
    shoal_write_key(w, "content");
    if (choice->bytes == 0 && (reasons || calls))
        shoal_write_literal(w, "null");
    else
        shoal_write_text(w, choice->text, choice->bytes);
    shoal_write_key_null(w, "refusal");
    if (calls)
        write_calls(w, head, choice->index, m);
    shoal_write_close(w, '}');
}

static void write_choice(shoal_json_writer *w, const shoal_answer_head *head,
                         const shoal_answer_choice *choice)
{
    shoal_write_open(w, '{');
    shoal_write_key_int(w, "index", choice->index);
    if (head->chat) {
        write_message(w, head, choice);
    } else {
        shoal_write_key(w, "text");
        shoal_write_text(w, choice->text, choice->bytes);
    }
    write_logprobs(w, head, choice);
    write_finish(w, choice->finish);
    shoal_write_close(w, '}');
}

shoal_status shoal_answer_whole(const shoal_answer_head *head, const shoal_answer_choice *choices,
                                int count, const shoal_usage *usage, shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    shoal_write_open(&w, '{');
    write_head(&w, head, head->chat ? "chat.completion" : "text_completion");
    shoal_write_key_open(&w, "choices", '[');
    for (int i = 0; i < count; i++)
        write_choice(&w, head, &choices[i]);
    shoal_write_close(&w, ']');
    write_usage(&w, usage);
    write_fingerprint(&w, head);
    shoal_write_close(&w, '}');
    return shoal_write_end(&w);
}

/* ---- streams ---- */

static void begin_chunk(shoal_json_writer *w, const shoal_answer_head *head)
{
    shoal_write_raw(w, "data: ");
    shoal_write_open(w, '{');
    write_head(w, head, head->chat ? "chat.completion.chunk" : "text_completion");
    write_fingerprint(w, head);
    shoal_write_key_open(w, "choices", '[');
}

static shoal_status end_event(shoal_json_writer *w)
{
    shoal_write_raw(w, "\n\n");
    return shoal_write_end(w);
}

static shoal_status end_chunk(shoal_json_writer *w, bool usage_null)
{
    shoal_write_close(w, ']');
    if (usage_null)
        shoal_write_key_null(w, "usage");
    shoal_write_close(w, '}');
    return end_event(w);
}

shoal_status shoal_answer_first(const shoal_answer_head *head, int index, bool usage_null,
                                shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    begin_chunk(&w, head);
    shoal_write_open(&w, '{');
    shoal_write_key_int(&w, "index", index);
    shoal_write_key_open(&w, "delta", '{');
    shoal_write_key_word(&w, "role", "assistant");
    shoal_write_key(&w, "content");
    shoal_write_literal(&w, head->calls ? "null" : "\"\"");
    shoal_write_close(&w, '}');
    shoal_write_key_null(&w, "logprobs");
    write_finish(&w, SHOAL_FINISH_NONE);
    shoal_write_close(&w, '}');
    return end_chunk(&w, usage_null);
}

/* The call that begins, or more of its arguments. */
static void write_call_delta(shoal_json_writer *w, const shoal_answer_head *head,
                             const shoal_answer_choice *piece)
{
    shoal_write_key_open(w, "tool_calls", '[');
    shoal_write_open(w, '{');
    shoal_write_key_int(w, "index", piece->call);
    if (piece->kind == SHOAL_SPEECH_CALL) {
        open_call(w, head, piece->index, piece->call, piece->text, piece->bytes);
        shoal_write_word(w, "");
    } else {
        shoal_write_key_open(w, "function", '{');
        shoal_write_key(w, "arguments");
        shoal_write_text(w, piece->text, piece->bytes);
    }
    shoal_write_close(w, '}');
    shoal_write_close(w, '}');
    shoal_write_close(w, ']');
}

static void write_delta(shoal_json_writer *w, const shoal_answer_head *head,
                        const shoal_answer_choice *piece)
{
    const bool reasons = piece->kind == SHOAL_SPEECH_REASONING;
    if (piece->kind == SHOAL_SPEECH_CALL || piece->kind == SHOAL_SPEECH_ARGUMENTS) {
        write_call_delta(w, head, piece);
    } else {
        shoal_write_key(w, reasons ? "reasoning_content" : "content");
        shoal_write_text(w, piece->text, piece->bytes);
    }
}

/* What a piece says; nothing in the one that ends the choice. */
static void write_piece(shoal_json_writer *w, const shoal_answer_head *head,
                        const shoal_answer_choice *piece)
{
    const bool last = piece->finish != SHOAL_FINISH_NONE;
    shoal_write_key(w, head->chat ? "delta" : "text");
    if (!head->chat) {
        shoal_write_text(w, piece->text, last ? 0 : piece->bytes);
        return;
    }
    shoal_write_open(w, '{');
    if (!last)
        write_delta(w, head, piece);
    shoal_write_close(w, '}');
}

shoal_status shoal_answer_piece(const shoal_answer_head *head, const shoal_answer_choice *piece,
                                bool usage_null, shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    if (piece->kind == SHOAL_SPEECH_NO_CALL)
        return SHOAL_OK;
    begin_chunk(&w, head);
    shoal_write_open(&w, '{');
    shoal_write_key_int(&w, "index", piece->index);
    write_piece(&w, head, piece);
    if (piece->finish == SHOAL_FINISH_NONE)
        write_logprobs(&w, head, piece);
    else
        shoal_write_key_null(&w, "logprobs");
    write_finish(&w, piece->finish);
    shoal_write_close(&w, '}');
    return end_chunk(&w, usage_null);
}

shoal_status shoal_answer_usage(const shoal_answer_head *head, const shoal_usage *usage,
                                shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    begin_chunk(&w, head);
    shoal_write_close(&w, ']');
    write_usage(&w, usage);
    shoal_write_close(&w, '}');
    return end_event(&w);
}

shoal_status shoal_answer_stream_error(const shoal_api_error *error, shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    shoal_write_raw(&w, "data: ");
    if (w.status == SHOAL_OK)
        w.status = shoal_api_error_write(error, out);
    return end_event(&w);
}

shoal_status shoal_answer_stream_done(shoal_strbuf *out)
{
    static const char done[] = "data: [DONE]\n\n";
    return shoal_strbuf_append(out, done, sizeof done - 1);
}

/* ---- models ---- */

static void write_model(shoal_json_writer *w, const char *name, int64_t created, int64_t context)
{
    shoal_write_open(w, '{');
    shoal_write_key_word(w, "id", name);
    shoal_write_key_word(w, "object", "model");
    shoal_write_key_int(w, "created", created);
    shoal_write_key_word(w, "owned_by", "shoal");
    if (context > 0) {
        shoal_write_key_int(w, "max_model_len", context);
    }
    shoal_write_close(w, '}');
}

shoal_status shoal_answer_models(const char *name, int64_t created, int64_t context, bool list,
                                 shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    if (!list) {
        write_model(&w, name, created, context);
        return shoal_write_end(&w);
    }
    shoal_write_open(&w, '{');
    shoal_write_key_word(&w, "object", "list");
    shoal_write_key_open(&w, "data", '[');
    write_model(&w, name, created, context);
    shoal_write_close(&w, ']');
    shoal_write_close(&w, '}');
    return shoal_write_end(&w);
}
