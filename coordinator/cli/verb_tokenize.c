#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/inputs.h"
#include "coordinator/cli/report.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

#define CHAT_FILE_MAX     (64u << 20)
#define TEMPLATE_FILE_MAX (1u << 20)

/* How a request is answered: by the tokenizer and what the options say about special tokens, or by
 * the chat template: a file is opened first of all, the model's own when a chat needs it. */
typedef struct {
    const shoal_options *options;
    shoal_tokenizer *tokenizer; /* NULL with --messages */
    bool no_special;
    shoal_chat_template *chat;
} context;

/* ---- texts and ids --------------------------------------------------------------------------- */

static json_t *pieces_json(const shoal_tokenizer *tokenizer, const shoal_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < ids->count; i++) {
        size_t bytes = 0;
        const char *piece = shoal_tokenizer_piece(tokenizer, ids->data[i], &bytes);
        if (json_array_append_new(list, shoal_json_utf8(piece, piece ? bytes : 0)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static shoal_status encode(const context *c, const char *text, size_t bytes, json_t **out)
{
    shoal_ids ids = {0};
    const unsigned flags = c->no_special ? 0 : SHOAL_ENCODE_ADD_SPECIAL;
    const shoal_status st = shoal_tokenizer_encode(c->tokenizer, text, bytes, flags, &ids);
    if (st == SHOAL_OK)
        *out = json_pack("{s:o, s:o}", "ids", shoal_json_ids(ids.data, ids.count), "pieces",
                         pieces_json(c->tokenizer, &ids));
    shoal_ids_free(&ids);
    return st;
}

static shoal_status decode(const context *c, const shoal_ids *ids, json_t **out)
{
    shoal_strbuf text = {0};
    const shoal_status st =
        shoal_tokenizer_decode(c->tokenizer, ids->data, ids->count, c->no_special, &text);
    if (st == SHOAL_OK)
        *out = json_pack("{s:o}", "text", shoal_json_utf8(text.data, text.bytes));
    shoal_strbuf_free(&text);
    return st;
}

static shoal_status decode_json(const context *c, const json_t *list, json_t **out)
{
    shoal_ids ids = {0};
    shoal_status st = shoal_ids_from_json(list, "ids", &ids);
    if (st == SHOAL_OK)
        st = decode(c, &ids, out);
    shoal_ids_free(&ids);
    return st;
}

/* ---- chats ----------------------------------------------------------------------------------- */

static shoal_status open_template_file(const char *path, shoal_chat_template **out)
{
    shoal_strbuf text = {0};
    shoal_status st = shoal_read_file(path, TEMPLATE_FILE_MAX, &text);
    if (st == SHOAL_OK)
        st = shoal_chat_template_parse(text.data, text.bytes, path, out);
    shoal_strbuf_free(&text);
    return st;
}

static shoal_status open_template(context *c)
{
    struct tm now;
    if (shoal_option_given(c->options, SHOAL_OPT_TEMPLATE))
        SHOAL_TRY(open_template_file(shoal_option_text(c->options, SHOAL_OPT_TEMPLATE), &c->chat));
    else
        SHOAL_TRY(shoal_chat_template_open(c->options->operands[0], &c->chat));
    if (shoal_option_given(c->options, SHOAL_OPT_NOW)) {
        SHOAL_TRY(shoal_chat_time_parse(shoal_option_text(c->options, SHOAL_OPT_NOW), &now));
        shoal_chat_template_fix_time(c->chat, &now);
    }
    return SHOAL_OK;
}

/* Whether the template is asked to begin an answer: as the request says; else the model's own one
 * is, as a server asks it. Kept new; NULL: nothing is said. */
static json_t *begins_answer(const context *c, const json_t *request)
{
    json_t *said = shoal_json_member(request, "add_generation_prompt");
    if (said)
        return json_incref(said);
    return shoal_option_given(c->options, SHOAL_OPT_TEMPLATE) ? NULL : json_true();
}

static shoal_status check_chat(const json_t *request)
{
    const json_t *kwargs = shoal_json_member(request, "kwargs");
    const json_t *begin = shoal_json_member(request, "add_generation_prompt");
    if (!json_is_array(json_object_get(request, "messages")))
        return shoal_fail(SHOAL_ERR_DATA, "messages must be a list");
    if (kwargs && !json_is_object(kwargs))
        return shoal_fail(SHOAL_ERR_DATA, "kwargs must be an object");
    if (begin && !json_is_boolean(begin))
        return shoal_fail(SHOAL_ERR_DATA, "add_generation_prompt must be true or false");
    return SHOAL_OK;
}

/* What the template sees: the chat, and the entries of kwargs. */
static shoal_status chat_variables(const context *c, const json_t *request, json_t **out)
{
    json_t *messages = json_object_get(request, "messages");
    json_t *tools = json_object_get(request, "tools"),
           *kwargs = shoal_json_member(request, "kwargs");
    SHOAL_TRY(check_chat(request));
    json_t *all =
        json_pack("{s:n, s:o*}", "documents", "add_generation_prompt", begins_answer(c, request));
    if (!all || (kwargs && json_object_update(all, kwargs) != 0) ||
        json_object_set(all, "messages", messages) != 0 ||
        json_object_set_new(all, "tools", tools ? json_incref(tools) : json_null()) != 0) {
        json_decref(all);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for the variables of a chat");
    }
    *out = all;
    return SHOAL_OK;
}

static shoal_status render(context *c, const json_t *request, json_t **out)
{
    shoal_strbuf prompt = {0};
    json_t *variables;
    if (!c->chat)
        SHOAL_TRY(open_template(c));
    SHOAL_TRY(chat_variables(c, request, &variables));
    const shoal_status st = shoal_chat_template_render(c->chat, variables, &prompt);
    if (st == SHOAL_OK)
        *out = json_pack("{s:o}", "prompt", shoal_json_utf8(prompt.data, prompt.bytes));
    json_decref(variables);
    shoal_strbuf_free(&prompt);
    return st;
}

/* A list of messages stands for an object that has nothing else. */
static shoal_status answer_chat_file(context *c, const char *path)
{
    shoal_strbuf text = {0};
    json_error_t error;
    json_t *result = NULL;
    SHOAL_TRY(shoal_read_file(path, CHAT_FILE_MAX, &text));
    json_t *chat = json_loadb(text.data, text.bytes, JSON_ALLOW_NUL, &error);
    shoal_strbuf_free(&text);
    if (json_is_array(chat))
        chat = json_pack("{s:o}", "messages", chat);
    const shoal_status st =
        chat ? render(c, chat, &result)
             : shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", path, error.line, error.text);
    json_decref(chat);
    return st == SHOAL_OK ? shoal_report_json_line(result) : st;
}

/* ---- requests of any kind -------------------------------------------------------------------- */

/* A sentence that did not fit may end inside a character, which JSON does not take. */
static json_t *error_json(void)
{
    const char *text = shoal_error_text();
    return shoal_json_utf8(text, shoal_utf8_valid(text, strlen(text)));
}

/* One line of --jsonl. */
static shoal_status answer(context *c, const json_t *request, json_t **out)
{
    const json_t *text = json_object_get(request, "text");
    const json_t *ids = json_object_get(request, "ids");
    if (!json_is_object(request))
        return shoal_fail(SHOAL_ERR_DATA, "expected an object with text, ids or messages");
    if (json_object_get(request, "messages"))
        return render(c, request, out);
    if (ids)
        return decode_json(c, ids, out);
    if (json_is_string(text))
        return encode(c, json_string_value(text), json_string_length(text), out);
    return shoal_fail(SHOAL_ERR_DATA, "expected text (a string), ids or messages");
}

/* ---- where requests come from ---------------------------------------------------------------- */

static shoal_status answer_line(context *c, const char *line, size_t bytes)
{
    json_error_t error;
    json_t *result = NULL;
    shoal_status st;
    json_t *request = json_loadb(line, bytes, JSON_ALLOW_NUL, &error);
    if (request)
        st = answer(c, request, &result);
    else
        st = shoal_fail(SHOAL_ERR_DATA, "not a JSON object: %s", error.text);
    json_decref(request);
    if (st != SHOAL_OK)
        result = json_pack("{s:o}", "error", error_json());
    return shoal_report_json_line(result);
}

static shoal_status answer_lines(context *c, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    shoal_status st = SHOAL_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return shoal_fail(errno == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "cannot open %s: %s",
                          path, strerror(errno));
    while (st == SHOAL_OK) {
        const ssize_t n = getline(&line, &room, file);
        if (n < 0)
            break;
        st = answer_line(c, line, (size_t)n - (line[n - 1] == '\n'));
    }
    if (st == SHOAL_OK && ferror(file))
        st = shoal_fail(SHOAL_ERR_IO, "reading %s: %s", path, strerror(errno));
    free(line);
    (void)fclose(file);
    return st;
}

static shoal_status answer_ids_file(const context *c, const char *path)
{
    shoal_ids ids = {0};
    json_t *result = NULL;
    shoal_status st = shoal_read_ids(path, &ids);
    if (st == SHOAL_OK)
        st = decode(c, &ids, &result);
    shoal_ids_free(&ids);
    return st == SHOAL_OK ? shoal_report_json_line(result) : st;
}

static shoal_status answer_text(const context *c, const char *text)
{
    json_t *result = NULL;
    SHOAL_TRY(encode(c, text, strlen(text), &result));
    return shoal_report_json_line(result);
}

static shoal_status run(const shoal_options *o, context *c)
{
    if (shoal_option_given(o, SHOAL_OPT_TEMPLATE))
        SHOAL_TRY(open_template(c));
    if (shoal_option_given(o, SHOAL_OPT_MESSAGES))
        return answer_chat_file(c, shoal_option_text(o, SHOAL_OPT_MESSAGES));
    SHOAL_TRY(shoal_tokenizer_open(o->operands[0], &c->tokenizer));
    if (shoal_option_given(o, SHOAL_OPT_JSONL))
        return answer_lines(c, shoal_option_text(o, SHOAL_OPT_JSONL));
    if (shoal_option_given(o, SHOAL_OPT_IDS))
        return answer_ids_file(c, shoal_option_text(o, SHOAL_OPT_IDS));
    return answer_text(c, shoal_option_text(o, SHOAL_OPT_TEXT));
}

/* What can be known before anything is opened. */
static shoal_status check_options(const shoal_options *o)
{
    static const shoal_option_id sources[] = {SHOAL_OPT_TEXT, SHOAL_OPT_IDS, SHOAL_OPT_MESSAGES,
                                              SHOAL_OPT_JSONL};
    struct tm now;
    int given = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        given += shoal_option_given(o, sources[i]);
    if (given != 1)
        return shoal_fail(SHOAL_ERR_USAGE, "give one of --text, --ids, --messages and --jsonl");
    if (shoal_option_given(o, SHOAL_OPT_NOW))
        SHOAL_TRY(shoal_chat_time_parse(shoal_option_text(o, SHOAL_OPT_NOW), &now));
    return SHOAL_OK;
}

shoal_status shoal_verb_tokenize(const shoal_options *o)
{
    context c = {.options = o, .no_special = shoal_option_bool(o, SHOAL_OPT_NO_SPECIAL)};
    SHOAL_TRY(check_options(o));
    const shoal_status st = run(o, &c);
    shoal_chat_template_close(c.chat);
    shoal_tokenizer_close(c.tokenizer);
    return st;
}
