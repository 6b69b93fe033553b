#include "coordinator/text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "coordinator/text/utf8.h"

/* One character never decomposes into more. */
#define DECOMPOSED_MAX 32
/* Below this a run of marks is sorted by insertion, above by counting. */
#define SHORT_RUN 16

static int combining_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

static void sort_short(int32_t *run, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const int32_t c = run[i];
        size_t at = i;
        while (at > 0 && combining_class(run[at - 1]) > combining_class(c)) {
            run[at] = run[at - 1];
            at--;
        }
        run[at] = c;
    }
}

/* Stable counting sort, so that a hostile text of nothing but marks costs linear time. */
static shoal_status sort_long(int32_t *run, size_t count, shoal_ids *scratch)
{
    size_t begin[257] = {0};
    scratch->count = 0;
    SHOAL_TRY(shoal_ids_reserve(scratch, count));
    for (size_t i = 0; i < count; i++)
        begin[combining_class(run[i]) + 1]++;
    for (int k = 0; k < 256; k++)
        begin[k + 1] += begin[k];
    for (size_t i = 0; i < count; i++)
        scratch->data[begin[combining_class(run[i])]++] = run[i];
    memcpy(run, scratch->data, count * sizeof *run);
    return SHOAL_OK;
}

/* Canonical order: every run of characters with a class above 0 by ascending class. */
static shoal_status order_marks(shoal_ids *chars)
{
    shoal_status st = SHOAL_OK;
    shoal_ids scratch = {0};
    for (size_t i = 0; i < chars->count; i++) {
        size_t end = i;
        while (end < chars->count && combining_class(chars->data[end]) > 0)
            end++;
        if (end - i > SHORT_RUN)
            SHOAL_TRY_GOTO(sort_long(chars->data + i, end - i, &scratch), done);
        else if (end > i)
            sort_short(chars->data + i, end - i);
        i = end;
    }
done:
    shoal_ids_free(&scratch);
    return st;
}

static shoal_status decompose(const char *text, size_t bytes, utf8proc_option_t options,
                              shoal_ids *chars)
{
    int boundary = 0;
    for (size_t at = 0; at < bytes;) {
        const int32_t c = (int32_t)shoal_utf8_next(text, &at);
        SHOAL_TRY(shoal_ids_reserve(chars, DECOMPOSED_MAX));
        const utf8proc_ssize_t n = utf8proc_decompose_char(c, chars->data + chars->count,
                                                           DECOMPOSED_MAX, options, &boundary);
        if (n < 0 || n > DECOMPOSED_MAX)
            return shoal_fail(SHOAL_ERR_INTERNAL, "U+%04X cannot be decomposed: %s", (unsigned)c,
                              n < 0 ? utf8proc_errmsg(n) : "too long");
        chars->count += (size_t)n;
    }
    return SHOAL_OK;
}

static bool all_ascii(const char *text, size_t bytes)
{
    unsigned char seen = 0;
    for (size_t i = 0; i < bytes; i++)
        seen |= (unsigned char)text[i];
    return seen < 0x80;
}

shoal_status shoal_unicode_normalize(shoal_unicode_form form, const char *text, size_t bytes,
                                     shoal_strbuf *out)
{
    static const int of_form[] = {
        [SHOAL_UNICODE_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [SHOAL_UNICODE_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [SHOAL_UNICODE_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [SHOAL_UNICODE_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    const utf8proc_option_t options = (utf8proc_option_t)of_form[form];
    shoal_status st = SHOAL_OK;
    shoal_ids chars = {0};
    if (all_ascii(text, bytes))
        return shoal_strbuf_append(out, text, bytes);

    SHOAL_TRY_GOTO(decompose(text, bytes, options, &chars), done);
    SHOAL_TRY_GOTO(order_marks(&chars), done);
    const utf8proc_ssize_t n =
        utf8proc_normalize_utf32(chars.data, (utf8proc_ssize_t)chars.count, options);
    if (n < 0) {
        st = shoal_fail(SHOAL_ERR_INTERNAL, "a text cannot be normalized: %s", utf8proc_errmsg(n));
        goto done;
    }
    SHOAL_TRY_GOTO(shoal_strbuf_reserve(out, (size_t)n * SHOAL_UTF8_MAX), done);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out->bytes += shoal_utf8_put((uint32_t)chars.data[i], out->data + out->bytes);
done:
    shoal_ids_free(&chars);
    return st;
}

bool shoal_unicode_is_space(uint32_t c)
{
    if (c < 0x100)
        return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0;
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

/* Symbols that Unicode counts as alphabetic: the circled and squared Latin letters. */
static bool is_letter_symbol(uint32_t c)
{
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool shoal_unicode_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0x200C || c == 0x200D || is_letter_symbol(c);
    }
}

bool shoal_unicode_is_printable(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return c == ' ';
    default: return true;
    }
}

bool shoal_unicode_is_letter(uint32_t c)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool shoal_unicode_is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

uint32_t shoal_unicode_lower(uint32_t c)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

uint32_t shoal_unicode_upper(uint32_t c)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

const char *shoal_unicode_category(uint32_t c)
{
    return utf8proc_category_string((int32_t)c);
}
