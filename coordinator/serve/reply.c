#include "coordinator/serve/reply.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "coordinator/clock.h"
#include "coordinator/serve/refusal.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"
#include "proto/digest.h"

/* Silence after which a stream gets a comment. */
#define PING_SECONDS 15.0

/* ---- life ------------------------------------------------------------------------------------ */

static uint64_t hash_key(const char *key)
{
    uint8_t hash[SHOAL_XXH128_BYTES];
    uint64_t number;
    shoal_xxh128(key, strlen(key), hash);
    memcpy(&number, hash, sizeof number);
    return number ? number : 1;
}

shoal_status shoal_reply_create(const shoal_reply_context *context, shoal_http_exchange *exchange,
                                shoal_reply **out)
{
    void *block;
    const char *key = shoal_http_header(exchange, "Idempotency-Key");
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_reply), &block));
    shoal_reply *r = block;
    r->context = context;
    r->exchange = exchange;
    r->replay_key = key ? hash_key(key) : 0;
    r->created = (int64_t)time(NULL);
    shoal_http_set_user(exchange, r);
    *out = r;
    return SHOAL_OK;
}

void shoal_reply_destroy(shoal_reply *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->part_count; i++) {
        shoal_choice_destroy(r->parts[i].choice);
        shoal_speech_destroy(r->parts[i].speech);
        shoal_speech_message_free(&r->parts[i].message);
        shoal_free(r->parts[i].tokens);
    }
    shoal_free(r->parts);
    shoal_api_request_free(&r->request);
    shoal_strbuf_free(&r->out);
    shoal_free(r);
}

/* The same key gives the same id, because the answer is the same. */
static void choose_id(shoal_reply *r)
{
    const char *prefix = r->request.chat ? "chatcmpl" : "cmpl";
    if (r->replay_key)
        (void)snprintf(r->id, sizeof r->id, "%s-%016llx", prefix,
                       (unsigned long long)r->replay_key);
    else
        (void)snprintf(r->id, sizeof r->id, "%s-%.30s", prefix, shoal_http_request_id(r->exchange));
}

static const shoal_api_prompt *prompt_of(const shoal_reply *r, int index)
{
    return &r->request.prompts[index / r->request.best_of];
}

static int64_t characters(const shoal_strbuf *text)
{
    int64_t count = 0;
    for (size_t at = 0; at < text->bytes; count++)
        (void)shoal_utf8_next(text->data, &at);
    return count;
}

shoal_status shoal_reply_prepare(shoal_reply *r, shoal_api_request *request)
{
    void *array;
    int64_t chars = 0;
    r->request = *request;
    *request = (shoal_api_request){0};
    choose_id(r);
    const int count = r->request.prompt_count * r->request.best_of;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)count, sizeof *r->parts, &array));
    r->parts = array;
    r->part_count = r->open_parts = count;
    for (int i = 0; i < count; i++) {
        shoal_reply_part *part = &r->parts[i];
        part->reply = r;
        part->index = i;
        if (r->request.logprobs && i % r->request.best_of == 0) /* megabytes: once a prompt */
            chars = characters(&prompt_of(r, i)->text);
        SHOAL_TRY(shoal_choice_create(&r->request, r->context->tokenizer, i, chars, &part->choice));
        if (shoal_speech_needed(&r->request.speech))
            SHOAL_TRY(shoal_speech_create(&r->request.speech, &part->speech));
    }
    return SHOAL_OK;
}

void shoal_reply_order(const shoal_reply *r, int index, uint64_t seed, int32_t *stop_ids,
                       shoal_journal_order *out)
{
    const shoal_api_request *q = &r->request;
    int stops = q->stop_id_count;
    memcpy(stop_ids, q->stop_ids, (size_t)stops * sizeof *stop_ids);
    for (int i = 0; i < r->context->eos_count && (q->masks || !q->ignore_eos); i++)
        stop_ids[stops++] = r->context->eos[i];
    *out = (shoal_journal_order){
        .prompt = &prompt_of(r, index)->ids,
        .max_tokens = q->max_tokens,
        .min_tokens = q->min_tokens,
        .priority = q->priority,
        .sampling = q->sampling,
        .biases = q->biases,
        .bias_count = q->bias_count,
        .stop_ids = stop_ids,
        .stop_count = stops,
        .masks = q->masks,
    };
    out->sampling.choice = (uint32_t)(index % q->best_of);
    if (!q->seed_given)
        out->sampling.seed = r->replay_key ? r->replay_key : seed;
}

/* ---- writing --------------------------------------------------------------------------------- */

static shoal_answer_head head_of(const shoal_reply *r)
{
    return (shoal_answer_head){
        .id = r->id,
        .model = r->context->model,
        .fingerprint = r->context->fingerprint,
        .created = r->created,
        .chat = r->request.chat,
        .calls = r->request.speech.calls != NULL,
        .tokenizer = r->context->tokenizer,
    };
}

/* Send what was written to `out`; the exchange may be gone afterwards. */
static void flush(shoal_reply *r)
{
    if (r->exchange && r->out.bytes > 0) {
        r->written = shoal_clock_seconds();
        (void)shoal_http_stream_write(r->exchange, r->out.data, r->out.bytes);
    }
    r->out.bytes = 0;
}

/* Without memory for its text an answer cannot go on. */
static void out_of_memory(shoal_reply *r)
{
    shoal_api_error error = {0};
    shoal_refusal_memory(&error);
    shoal_reply_refuse(r, &error);
}

void shoal_reply_refuse(shoal_reply *r, const shoal_api_error *error)
{
    shoal_http_exchange *x = r->exchange;
    if (!x)
        return;
    r->out.bytes = 0;
    r->open_parts = 0;
    if (r->written > 0) {
        if (shoal_answer_stream_error(error, &r->out) == SHOAL_OK)
            flush(r);
        if (r->exchange)
            shoal_http_stream_end(r->exchange);
    } else {
        shoal_http_reply_error(x, error);
    }
    r->exchange = NULL;
}

/* ---- listening ------------------------------------------------------------------------------- */

/* What a part has to say since the last time; borrowed from its choice and speech. */
typedef struct {
    const char *text; /* of the pieces */
    const shoal_speech_piece *pieces;
    size_t count;
    shoal_speech_piece all; /* the only piece, where nothing has to be told apart */
    const shoal_choice_token *tokens;
    int token_count;
} heard;

static shoal_status listen(shoal_reply_part *part, heard *out)
{
    const shoal_speech_pieces *pieces;
    const bool final = shoal_choice_finished(part->choice) != SHOAL_FINISH_NONE;
    size_t bytes;
    shoal_choice_take(part->choice, &out->text, &bytes, &out->tokens, &out->token_count);
    if (!part->reply->request.logprobs)
        out->token_count = 0;
    out->all = (shoal_speech_piece){SHOAL_SPEECH_CONTENT, 0, 0, bytes};
    out->pieces = &out->all;
    out->count = bytes > 0;
    if (!part->speech)
        return SHOAL_OK;
    SHOAL_TRY(shoal_speech_push(part->speech, out->text, bytes, final, &pieces));
    out->all.bytes = 0;
    out->text = pieces->text.data;
    out->pieces = pieces->data;
    out->count = pieces->count;
    return SHOAL_OK;
}

static shoal_finish finish_of(const shoal_reply_part *part)
{
    const shoal_finish finish = shoal_choice_finished(part->choice);
    const bool calls = part->speech && shoal_speech_calls(part->speech) > 0;
    return finish == SHOAL_FINISH_STOP && calls ? SHOAL_FINISH_TOOL_CALLS : finish;
}

/* ---- streams --------------------------------------------------------------------------------- */

static shoal_answer_choice piece_of(const shoal_reply_part *part, const char *text, size_t bytes)
{
    const shoal_api_request *q = &part->reply->request;
    return (shoal_answer_choice){
        .index = part->index,
        .text = text,
        .bytes = bytes,
        .top_logprobs = q->top_logprobs,
    };
}

static shoal_status open_stream_part(shoal_reply *r, const shoal_reply_part *part)
{
    const shoal_answer_head head = head_of(r);
    const shoal_strbuf *prompt = &prompt_of(r, part->index)->text;
    if (r->request.chat)
        return shoal_answer_first(&head, part->index, r->request.include_usage, &r->out);
    if (!r->request.echo)
        return SHOAL_OK;
    const shoal_answer_choice piece = piece_of(part, prompt->data, prompt->bytes);
    return shoal_answer_piece(&head, &piece, r->request.include_usage, &r->out);
}

void shoal_reply_begin(shoal_reply *r)
{
    if (!r->request.stream || !r->exchange)
        return;
    shoal_http_stream_begin(r->exchange, "text/event-stream; charset=utf-8",
                            "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
    r->written = shoal_clock_seconds();
    for (int i = 0; i < r->part_count; i++)
        if (open_stream_part(r, &r->parts[i]) != SHOAL_OK) {
            out_of_memory(r);
            return;
        }
    flush(r);
}

/* Tokens go with the first piece, or alone where their text says nothing yet. */
static shoal_status stream_part(shoal_reply_part *part, const heard *news)
{
    shoal_reply *r = part->reply;
    const shoal_answer_head head = head_of(r);
    const bool usage_null = r->request.include_usage, tokens = news->token_count > 0;
    const size_t count = news->count == 0 && tokens ? 1 : news->count;
    for (size_t i = 0; i < count; i++) {
        const shoal_speech_piece *said = &(news->count ? news->pieces : &news->all)[i];
        shoal_answer_choice piece = piece_of(part, news->text + said->begin, said->bytes);
        piece.kind = said->kind;
        piece.call = said->call;
        if (tokens && i == 0) {
            piece.tokens = news->tokens;
            piece.token_count = news->token_count;
        }
        SHOAL_TRY(shoal_answer_piece(&head, &piece, usage_null, &r->out));
    }
    if (shoal_choice_finished(part->choice) == SHOAL_FINISH_NONE)
        return SHOAL_OK;
    shoal_answer_choice last = piece_of(part, "", 0);
    last.finish = finish_of(part);
    return shoal_answer_piece(&head, &last, usage_null, &r->out);
}

void shoal_reply_ping(shoal_reply *r)
{
    static const char ping[] = ": ping\n\n";
    if (!r->exchange || r->written <= 0 || shoal_clock_seconds() - r->written < PING_SECONDS)
        return;
    r->written = shoal_clock_seconds();
    (void)shoal_http_stream_write(r->exchange, ping, sizeof ping - 1);
}

/* ---- whole answers --------------------------------------------------------------------------- */

static shoal_status collect_tokens(shoal_reply_part *part, const shoal_choice_token *tokens,
                                   int count)
{
    if (part->token_count + count > part->token_room) {
        void *array = part->tokens;
        const int room = 2 * (part->token_count + count);
        SHOAL_TRY(
            shoal_realloc_array(SHOAL_MEM_TEXT, (uint64_t)room, sizeof *part->tokens, &array));
        part->tokens = array;
        part->token_room = room;
    }
    memcpy(part->tokens + part->token_count, tokens, (size_t)count * sizeof *tokens);
    part->token_count += count;
    return SHOAL_OK;
}

static shoal_status collect_part(shoal_reply_part *part, const heard *news)
{
    if (news->token_count > 0)
        SHOAL_TRY(collect_tokens(part, news->tokens, news->token_count));
    return shoal_speech_collect(&part->message, news->text, news->pieces, news->count);
}

/* What is no number is worst, so that scores have an order and n of them are chosen. */
static double score_of(const shoal_reply_part *part)
{
    const int64_t tokens = shoal_choice_tokens(part->choice);
    const double mean = shoal_choice_logprob_sum(part->choice) / (double)(tokens > 0 ? tokens : 1);
    return isnan(mean) ? -INFINITY : mean;
}

/* Part `which` of a prompt is among the n best by mean log-probability (ties: the first). */
static bool is_chosen(const shoal_reply *r, int which)
{
    const int best_of = r->request.best_of, first = which / best_of * best_of;
    const double score = score_of(&r->parts[which]);
    int better = 0;
    for (int i = first; i < first + best_of; i++)
        better +=
            score_of(&r->parts[i]) > score || (i < which && !(score_of(&r->parts[i]) < score));
    return better < r->request.n;
}

static shoal_status echo_prompt(shoal_reply_part *part)
{
    const shoal_strbuf *prompt = &prompt_of(part->reply, part->index)->text;
    shoal_strbuf *text = &part->message.content, whole = {0};
    shoal_status st = shoal_strbuf_append(&whole, prompt->data, prompt->bytes);
    if (st == SHOAL_OK)
        st = shoal_strbuf_append(&whole, text->data, text->bytes);
    shoal_strbuf_free(text);
    *text = whole;
    return st;
}

static shoal_status fill_choices(shoal_reply *r, shoal_answer_choice *choices)
{
    int count = 0;
    for (int i = 0; i < r->part_count; i++) {
        shoal_reply_part *part = &r->parts[i];
        if (!is_chosen(r, i))
            continue;
        if (r->request.echo)
            SHOAL_TRY(echo_prompt(part));
        choices[count] = piece_of(part, part->message.content.data, part->message.content.bytes);
        choices[count].index = count;
        choices[count].message = &part->message;
        choices[count].finish = finish_of(part);
        if (r->request.logprobs) {
            choices[count].tokens = part->tokens;
            choices[count].token_count = part->token_count;
        }
        count++;
    }
    return SHOAL_OK;
}

/* Everything that was computed counts, also choices that best_of threw away. */
static shoal_usage usage_of(const shoal_reply *r)
{
    shoal_usage usage = {0};
    for (int i = 0; i < r->request.prompt_count; i++)
        usage.prompt_tokens += (int64_t)r->request.prompts[i].ids.count;
    for (int i = 0; i < r->part_count; i++)
        usage.completion_tokens += shoal_choice_tokens(r->parts[i].choice);
    return usage;
}

static shoal_status write_whole(shoal_reply *r)
{
    void *array;
    const shoal_answer_head head = head_of(r);
    const shoal_usage usage = usage_of(r);
    const int count = r->request.prompt_count * r->request.n;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)count, sizeof(shoal_answer_choice), &array));
    shoal_status st = fill_choices(r, array);
    if (st == SHOAL_OK)
        st = shoal_answer_whole(&head, array, count, &usage, &r->out);
    shoal_free(array);
    return st;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void answer_whole(shoal_reply *r)
{
    if (write_whole(r) != SHOAL_OK) {
        out_of_memory(r);
        return;
    }
    shoal_http_exchange *x = r->exchange;
    r->exchange = NULL;
    shoal_http_reply(x, 200, "application/json", NULL, r->out.data, r->out.bytes);
}

static void end_stream(shoal_reply *r)
{
    const shoal_answer_head head = head_of(r);
    const shoal_usage usage = usage_of(r);
    shoal_status st = SHOAL_OK;
    if (r->request.include_usage)
        st = shoal_answer_usage(&head, &usage, &r->out);
    if (st == SHOAL_OK)
        st = shoal_answer_stream_done(&r->out);
    if (st != SHOAL_OK) {
        out_of_memory(r);
        return;
    }
    flush(r);
    if (r->exchange)
        shoal_http_stream_end(r->exchange);
    r->exchange = NULL;
}

static void explain(shoal_cause cause, shoal_api_error *error)
{
    switch (cause) {
    case SHOAL_CAUSE_OVERFLOW:
        (void)shoal_api_refuse(error, 500, "numeric_overflow", NULL,
                               "This input leads to values beyond what the arithmetic can hold.");
        break;
    case SHOAL_CAUSE_QUARANTINED:
        (void)shoal_api_refuse(error, 500, "request_quarantined", NULL,
                               "Workers died twice while they computed this request.");
        break;
    case SHOAL_CAUSE_MEMORY: shoal_refusal_memory(error); break;
    case SHOAL_CAUSE_FORM:
        (void)shoal_api_refuse(error, 500, "form_unreachable", NULL,
                               "No token of this model goes on in the form that was asked for.");
        break;
    case SHOAL_CAUSE_FORM_WORK:
        (void)shoal_api_refuse(error, 400, "form_too_complex", NULL,
                               "The form that was asked for leaves too much open at once to be "
                               "followed here: fewer alternatives that begin alike may do.");
        break;
    default: shoal_refusal_cut_off(error);
    }
}

static shoal_status feed(shoal_reply_part *part, const shoal_driver_event *event, bool *stopped)
{
    heard news;
    *stopped = false;
    if (event->has_token)
        SHOAL_TRY(shoal_choice_push(part->choice, &event->token, event->hidden, stopped));
    if (event->finish != SHOAL_FINISH_NONE && !*stopped)
        SHOAL_TRY(shoal_choice_finish(part->choice, event->finish));
    SHOAL_TRY(listen(part, &news));
    if (part->speech && shoal_speech_over(part->speech)) {
        SHOAL_TRY(shoal_choice_finish(part->choice, SHOAL_FINISH_STOP));
        *stopped = true;
    }
    return (part->reply->request.stream ? stream_part : collect_part)(part, &news);
}

void shoal_reply_take(shoal_reply_part *part, const shoal_driver_event *event, bool *cancel)
{
    shoal_reply *r = part->reply;
    bool stopped;
    *cancel = false;
    if (part->ended || !r->exchange)
        return;
    if (event->finish == SHOAL_FINISH_ERROR) {
        shoal_api_error error = {0};
        explain(event->cause, &error);
        part->ended = true;
        shoal_reply_refuse(r, &error);
        return;
    }
    if (feed(part, event, &stopped) != SHOAL_OK) {
        out_of_memory(r);
        return;
    }
    part->ended = stopped || event->finish != SHOAL_FINISH_NONE;
    *cancel = stopped && event->finish == SHOAL_FINISH_NONE;
    r->open_parts -= part->ended;
    if (r->open_parts == 0)
        r->request.stream ? end_stream(r) : answer_whole(r);
    else if (r->request.stream)
        flush(r);
}
