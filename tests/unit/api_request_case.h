/* Requests against the small model of the tree: what is accepted, what is refused and how. */
#ifndef SHOAL_TESTS_UNIT_API_REQUEST_CASE_H
#define SHOAL_TESTS_UNIT_API_REQUEST_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/serve/api_request.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "tests/support/chat_texts.h"
#include "tests/unit/api_case.h"

#define VOCAB   2048
#define CONTEXT 64

static shoal_tokenizer *tokenizer;
static shoal_vocab_trie trie;
static shoal_chat_template *tiny, *show;

static inline shoal_api_context context(void)
{
    return (shoal_api_context){"shoal-test", tokenizer, tiny, VOCAB, CONTEXT, &trie};
}

static inline int open_all(void **state)
{
    (void)state;
    if (shoal_tokenizer_open("tests/data/tiny-llama", &tokenizer) != SHOAL_OK ||
        shoal_vocab_trie_build(tokenizer, VOCAB, &trie) != SHOAL_OK ||
        shoal_chat_template_parse(CHAT_TINY, strlen(CHAT_TINY), "tiny", &tiny) != SHOAL_OK ||
        shoal_chat_template_parse(CHAT_SHOW, strlen(CHAT_SHOW), "show", &show) != SHOAL_OK) {
        printf("%s\n", shoal_error_text());
        return -1;
    }
    return 0;
}

static inline int close_all(void **state)
{
    (void)state;
    shoal_chat_template_close(show);
    shoal_chat_template_close(tiny);
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(tokenizer);
    return 0;
}

/* ---- asking ---- */

static inline bool parse_bytes(const shoal_api_context *c, bool chat, const char *body,
                               size_t bytes, shoal_api_request *out, shoal_api_error *error)
{
    *error = (shoal_api_error){0};
    const bool parsed =
        (chat ? shoal_api_parse_chat : shoal_api_parse_completion)(c, body, bytes, out, error);
    assert_int_equal(parsed, error->status == 0);
    if (!parsed)
        assert_memory_equal(out, &(shoal_api_request){0}, sizeof *out);
    return parsed;
}

static inline shoal_api_request accept_by(const shoal_api_context *c, bool chat, const char *text)
{
    shoal_api_request request;
    shoal_api_error error;
    char *body = api_body(text);
    if (!parse_bytes(c, chat, body, strlen(body), &request, &error))
        fail_msg("%s: %s", body, error.message);
    free(body);
    return request;
}

static inline void refuse_by(const shoal_api_context *c, bool chat, const char *text, int status,
                             const char *param, const char *code)
{
    shoal_api_request request;
    shoal_api_error error;
    char *body = api_body(text);
    if (parse_bytes(c, chat, body, strlen(body), &request, &error))
        fail_msg("accepted: %s", body);
    if (error.status != status || strcmp(error.param, param) != 0 || strcmp(error.code, code) != 0)
        fail_msg("%s: %d %s %s: %s", body, error.status, error.param, error.code, error.message);
    if (param[0] && !strstr(error.message, param) && strcmp(code, "model_not_found") != 0 &&
        status != 422 && strcmp(code, "context_length_exceeded") != 0 &&
        strcmp(code, "chat_template_error") != 0)
        fail_msg("the field %s is not named: %s", param, error.message);
    free(body);
}

#define CHAT       "{'messages':[{'role':'user','content':'Hi'}],"
#define COMPLETION "{'prompt':'Hi',"

static inline shoal_api_request accept_field(bool chat, const char *field)
{
    char text[4096];
    const shoal_api_context c = context();
    snprintf(text, sizeof text, "%s%s}", chat ? CHAT : COMPLETION, field);
    return accept_by(&c, chat, text);
}

static inline void refuse_field(bool chat, const char *field, const char *param, const char *code)
{
    char text[4096];
    const shoal_api_context c = context();
    snprintf(text, sizeof text, "%s%s}", chat ? CHAT : COMPLETION, field);
    refuse_by(&c, chat, text, 400, param, code);
}

static inline void expect_text(const shoal_ids *ids, const char *want)
{
    shoal_strbuf text = {0};
    assert_int_equal(shoal_tokenizer_decode(tokenizer, ids->data, ids->count, false, &text),
                     SHOAL_OK);
    assert_int_equal(text.bytes, strlen(want));
    assert_memory_equal(text.data, want, text.bytes);
    shoal_strbuf_free(&text);
}

#endif
