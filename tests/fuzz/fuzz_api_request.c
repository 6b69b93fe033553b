/* libFuzzer target: bodies of requests.
 *
 * Input: a byte that chooses the route (chat, completions, tokenize, detokenize), then the body.
 * What is refused has a status, a sentence and an answer that is JSON, and leaves nothing behind;
 * what is taken keeps its promises about ids, stop strings and limits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/serve/api_request.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/must.h"
#include "tests/support/chat_texts.h"

#define VOCAB   7
#define CONTEXT 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char json[] =
    "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
    "\"use_regex\":true},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
    "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,"
    "\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u00c3\":4,\"<\":5,\"c\":6},\"merges\":[\"a b\"]}}";

static const shoal_api_context *context(void)
{
    static shoal_api_context c = {.model_name = "m", .vocab = VOCAB, .context = CONTEXT};
    static shoal_tokenizer *tokenizer;
    static shoal_chat_template *chat;
    static shoal_vocab_trie trie;
    if (!tokenizer) {
        must(shoal_tokenizer_open_memory(json, sizeof json - 1, "made", &tokenizer) == SHOAL_OK);
        must(shoal_chat_template_parse(CHAT_TINY, sizeof CHAT_TINY - 1, "tiny", &chat) == SHOAL_OK);
        must(shoal_vocab_trie_build(tokenizer, VOCAB, &trie) == SHOAL_OK);
        c.trie = &trie;
        c.tokenizer = tokenizer;
        c.chat = chat;
    }
    return &c;
}

static void must_be_json(const shoal_strbuf *text)
{
    json_t *parsed = json_loadb(text->data, text->bytes, JSON_ALLOW_NUL, NULL);
    must(parsed != NULL);
    json_decref(parsed);
}

static void check_refusal(const shoal_api_error *error)
{
    shoal_strbuf answer = {0};
    must(error->status >= 400 && error->message[0]);
    must(shoal_utf8_valid(error->message, strlen(error->message)) == strlen(error->message));
    must(shoal_api_error_write(error, &answer) == SHOAL_OK);
    must_be_json(&answer);
    shoal_strbuf_free(&answer);
}

static void check_request(const shoal_api_request *r)
{
    size_t longest = 0;
    must(r->prompt_count >= 1 && r->prompt_count * r->best_of <= SHOAL_API_SEQUENCES_MAX);
    must(r->n >= 1 && r->n <= r->best_of && r->best_of <= SHOAL_API_CHOICES_MAX);
    for (int i = 0; i < r->prompt_count; i++) {
        const shoal_ids *ids = &r->prompts[i].ids;
        must(ids->count > 0);
        for (size_t k = 0; k < ids->count; k++)
            must(ids->data[k] >= 0 && ids->data[k] < VOCAB);
        longest = ids->count > longest ? ids->count : longest;
    }
    must(r->max_tokens >= (r->echo ? 0 : 1) && r->min_tokens <= r->max_tokens);
    must((int64_t)longest + r->max_tokens <= CONTEXT);
    for (int i = 0; i < r->stop_count; i++)
        must(r->stops[i].bytes >= 1 && r->stops[i].bytes <= SHOAL_API_STOP_BYTES_MAX);
    for (int i = 0; i < r->bias_count; i++)
        must(r->biases[i].id >= 0 && r->biases[i].id < VOCAB);
    must(r->sampling.repetition_penalty > 0 && r->sampling.top_p > 0);
    must(r->sampling.logprobs >= -1 && r->sampling.logprobs <= SHOAL_LOGPROBS_MAX);
}

static void parse(bool chat, const char *body, size_t bytes)
{
    shoal_api_request request;
    shoal_api_error error = {0};
    if (!(chat ? shoal_api_parse_chat : shoal_api_parse_completion)(context(), body, bytes,
                                                                    &request, &error)) {
        check_refusal(&error);
        must(request.prompts == NULL && request.biases == NULL && request.stop_count == 0);
        return;
    }
    check_request(&request);
    shoal_api_request_free(&request);
}

static void convert(bool tokenize, const char *body, size_t bytes)
{
    shoal_strbuf answer = {0};
    shoal_api_error error = {0};
    if ((tokenize ? shoal_api_tokenize : shoal_api_detokenize)(context(), body, bytes, &answer,
                                                               &error))
        must_be_json(&answer);
    else
        check_refusal(&error);
    shoal_strbuf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *body = (const char *)data + 1;
    const int route = data[0] % 4;
    if (route < 2)
        parse(route == 0, body, size - 1);
    else
        convert(route == 2, body, size - 1);
    return 0;
}
