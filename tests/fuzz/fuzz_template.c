/* libFuzzer target: a chat template from a model, and a request's JSON.
 *
 * Input: the template, then optionally a NUL byte and a JSON object of variables. Whatever they
 * are, parsing and rendering end with valid UTF-8 or a sentence, and the same input gives the same
 * text again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/template.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static shoal_status render(const shoal_template *tpl, const json_t *variables, shoal_strbuf *out)
{
    const struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 21};
    const shoal_status st = shoal_template_render(tpl, variables, NULL, &now, out);
    must(st == SHOAL_OK || (out->bytes == 0 && shoal_error_text()[0] != '\0'));
    must(st != SHOAL_ERR_INTERNAL);
    must(shoal_utf8_valid(out->data, out->bytes) == out->bytes);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\\nb\"}],"
                                "\"tools\": null, \"n\": 3, \"x\": 1.5, \"d\": {\"k\": [true]}}";
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const size_t bytes = end ? (size_t)(end - data) : size;
    shoal_strbuf first = {0}, second = {0};
    shoal_template *tpl;
    if (shoal_template_parse("fuzz", (const char *)data, bytes, &tpl) != SHOAL_OK) {
        must(shoal_error_text()[0] != '\0');
        return 0;
    }
    json_t *variables =
        end ? json_loadb((const char *)end + 1, size - bytes - 1, JSON_ALLOW_NUL, NULL) : NULL;
    if (!json_is_object(variables)) {
        json_decref(variables);
        variables = json_loads(usual, 0, NULL);
    }
    must(render(tpl, variables, &first) == render(tpl, variables, &second));
    must(first.bytes == second.bytes &&
         (first.bytes == 0 || memcmp(first.data, second.data, first.bytes) == 0));
    shoal_strbuf_free(&first);
    shoal_strbuf_free(&second);
    json_decref(variables);
    shoal_template_close(tpl);
    return 0;
}
