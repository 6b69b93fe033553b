#include "coordinator/text/normalizer.h"

#include <string.h>

#include "coordinator/text/unicode.h"

struct shoal_normalizer_kind {
    const char *name;
    shoal_unicode_form form;
};

static const shoal_normalizer_kind kinds[] = {
    {"NFC", SHOAL_UNICODE_NFC},
    {"NFD", SHOAL_UNICODE_NFD},
    {"NFKC", SHOAL_UNICODE_NFKC},
    {"NFKD", SHOAL_UNICODE_NFKD},
};

shoal_status shoal_normalizer_add(shoal_normalizer *normalizer, const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        if (normalizer->count == SHOAL_NORMALIZER_STEPS_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "more than %d normalizer steps",
                              SHOAL_NORMALIZER_STEPS_MAX);
        normalizer->steps[normalizer->count++] = &kinds[i];
        return SHOAL_OK;
    }
    return shoal_fail(SHOAL_ERR_DATA, "normalizer \"%.64s\" is unsupported", name);
}

shoal_status shoal_normalizer_run(const shoal_normalizer *normalizer, const char *text,
                                  size_t bytes, shoal_strbuf *out)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf next = {0};
    out->bytes = 0;
    SHOAL_TRY(shoal_strbuf_append(out, text, bytes));
    for (int i = 0; i < normalizer->count; i++) {
        next.bytes = 0;
        SHOAL_TRY_GOTO(
            shoal_unicode_normalize(normalizer->steps[i]->form, out->data, out->bytes, &next),
            done);
        const shoal_strbuf swap = *out;
        *out = next;
        next = swap;
    }
done:
    shoal_strbuf_free(&next);
    return st;
}
