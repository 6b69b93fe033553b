#include "coordinator/text/grammar/number_form.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---------------------------------------------------------------------------------- */

/* "-d.ddde+XX" to digits and point. */
static void read_scientific(const char *text, shoal_decimal *out)
{
    *out = (shoal_decimal){.negative = *text == '-'};
    const char *e = strchr(text, 'e');
    for (const char *c = text; c < e; c++)
        if (*c >= '0' && *c <= '9')
            out->digits[out->count++] = *c;
    out->point = 1 + (int)strtol(e + 1, NULL, 10);
    while (out->count && out->digits[out->count - 1] == '0')
        out->count--;
    if (out->count == 0)
        *out = (shoal_decimal){0};
}

void shoal_decimal_from(const json_t *number, shoal_decimal *out)
{
    char text[64];
    if (json_is_integer(number)) {
        snprintf(text, sizeof text, "%+lld", (long long)json_integer_value(number));
        *out = (shoal_decimal){.negative = *text == '-', .count = (int)strlen(text) - 1};
        out->point = out->count;
        memcpy(out->digits, text + 1, (size_t)out->count);
        while (out->count && out->digits[out->count - 1] == '0')
            out->count--;
        if (out->count == 0)
            *out = (shoal_decimal){0};
        return;
    }
    /* The shortest decimal that is this double is what was meant. */
    const double value = json_real_value(number);
    for (int digits = 0; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    read_scientific(text, out);
}

/* ---- magnitudes ------------------------------------------------------------------------------ */

/* How a magnitude may be written. */
typedef enum {
    PLAIN,    /* 12.5, digits and a fraction          */
    MANTISSA, /* 1.25, one digit above 0 and a fraction */
    INTEGER   /* 12, digits only                      */
} style;

/* A magnitude to compare with: digits before and behind the point, no superfluous zeros. */
typedef struct {
    const char *whole, *fraction;
    int whole_count, fraction_count;
} magnitude;

/* Append alternatives, each ended by '|'. */
static shoal_status put(shoal_strbuf *out, const char *fmt, ...) SHOAL_PRINTF(2, 3);

static shoal_status put(shoal_strbuf *out, const char *fmt, ...)
{
    char text[2 * SHOAL_NUMBER_DIGITS_MAX + 64];
    va_list args;
    va_start(args, fmt);
    const int bytes = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (bytes < 0 || (size_t)bytes >= sizeof text)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a number of %d digits", bytes);
    return shoal_strbuf_append(out, text, (size_t)bytes);
}

static const char *any_fraction(style how)
{
    return how == INTEGER ? "" : "(?:\\.\\d+)?";
}

static shoal_status put_equal(const magnitude *m, style how, shoal_strbuf *out)
{
    if (m->fraction_count)
        return put(out, "%.*s\\.%.*s0*|", m->whole_count, m->whole, m->fraction_count, m->fraction);
    return put(out, "%.*s%s|", m->whole_count, m->whole, how == INTEGER ? "" : "(?:\\.0+)?");
}

static shoal_status put_above(const magnitude *m, style how, shoal_strbuf *out)
{
    if (how != MANTISSA)
        SHOAL_TRY(put(out, "[1-9]\\d{%d}\\d*%s|", m->whole_count, any_fraction(how)));
    for (int i = 0; i < m->whole_count; i++)
        if (m->whole[i] < '9')
            SHOAL_TRY(put(out, "%.*s[%c-9]\\d{%d}%s|", i, m->whole, m->whole[i] + 1,
                          m->whole_count - 1 - i, any_fraction(how)));
    if (how == INTEGER)
        return SHOAL_OK;
    for (int i = 0; i < m->fraction_count; i++)
        if (m->fraction[i] < '9')
            SHOAL_TRY(put(out, "%.*s\\.%.*s[%c-9]\\d*|", m->whole_count, m->whole, i, m->fraction,
                          m->fraction[i] + 1));
    return put(out, "%.*s\\.%.*s\\d*[1-9]\\d*|", m->whole_count, m->whole, m->fraction_count,
               m->fraction);
}

static shoal_status put_below(const magnitude *m, style how, shoal_strbuf *out)
{
    if (how != MANTISSA && m->whole_count > 1)
        SHOAL_TRY(put(out, "(?:0|[1-9]\\d{0,%d})%s|", m->whole_count - 2, any_fraction(how)));
    for (int i = 0; i < m->whole_count; i++) {
        const char low = i == 0 && (how == MANTISSA || m->whole_count > 1) ? '1' : '0';
        if (m->whole[i] > low)
            SHOAL_TRY(put(out, "%.*s[%c-%c]\\d{%d}%s|", i, m->whole, low, m->whole[i] - 1,
                          m->whole_count - 1 - i, any_fraction(how)));
    }
    for (int i = 0; i < m->fraction_count; i++) {
        if (m->fraction[i] > '0')
            SHOAL_TRY(put(out, "%.*s\\.%.*s[0-%c]\\d*|", m->whole_count, m->whole, i, m->fraction,
                          m->fraction[i] - 1));
        SHOAL_TRY(
            put(out, "%.*s%s%.*s|", m->whole_count, m->whole, i ? "\\." : "", i, m->fraction));
    }
    return SHOAL_OK;
}

static shoal_status put_side(const magnitude *m, style how, shoal_number_side side,
                             shoal_strbuf *out)
{
    return side == SHOAL_NUMBER_EQUAL   ? put_equal(m, how, out)
           : side == SHOAL_NUMBER_ABOVE ? put_above(m, how, out)
                                        : put_below(m, how, out);
}

/* ---- with an exponent ------------------------------------------------------------------------ */

/* "(?:" alternatives "|)" would let nothing match: the last '|' becomes the end of the group. */
static void close_group(shoal_strbuf *out)
{
    out->data[out->bytes - 1] = ')';
}

/* Exponents on one side of `value`, as a group; some exponent is on each side. */
static shoal_status put_exponent(int value, shoal_number_side side, shoal_strbuf *out)
{
    char text[16];
    snprintf(text, sizeof text, "%d", abs(value));
    const magnitude m = {.whole = text, .whole_count = (int)strlen(text)};
    const bool toward_zero = value != 0 && (value > 0) == (side == SHOAL_NUMBER_BELOW);
    SHOAL_TRY(put(out, "[eE](?:"));
    if (side != SHOAL_NUMBER_EQUAL && toward_zero)
        SHOAL_TRY(put(out, value > 0 ? "-\\d+|" : "\\+?\\d+|"));
    if (side == SHOAL_NUMBER_EQUAL && value == 0)
        SHOAL_TRY(put(out, "-0+|"));
    const bool minus = value < 0 || (value == 0 && side == SHOAL_NUMBER_BELOW);
    SHOAL_TRY(put(out, "%s0*(?:", minus ? "-" : "\\+?"));
    SHOAL_TRY(put_side(&m, INTEGER,
                       side == SHOAL_NUMBER_EQUAL ? side
                       : toward_zero              ? SHOAL_NUMBER_BELOW
                                                  : SHOAL_NUMBER_ABOVE,
                       out));
    close_group(out);
    return put(out, ")|");
}

/* Magnitudes d.ddde+X on one side of a value that is not 0: by the exponent whatever the digits, or
 * by the digits at the same exponent. */
static shoal_status put_scientific(const shoal_decimal *value, shoal_number_side side,
                                   shoal_strbuf *out)
{
    const magnitude m = {.whole = value->digits,
                         .whole_count = 1,
                         .fraction = value->digits + 1,
                         .fraction_count = value->count - 1};
    if (side != SHOAL_NUMBER_EQUAL) {
        SHOAL_TRY(put(out, "[1-9](?:\\.\\d+)?"));
        SHOAL_TRY(put_exponent(value->point - 1, side, out));
    }
    if (side == SHOAL_NUMBER_BELOW && value->count == 1 && *value->digits == '1')
        return SHOAL_OK; /* no mantissa is below 1 */
    SHOAL_TRY(put(out, "(?:"));
    SHOAL_TRY(put_side(&m, MANTISSA, side, out));
    close_group(out);
    return put_exponent(value->point - 1, SHOAL_NUMBER_EQUAL, out);
}

/* Magnitudes on one side of |value|, as alternatives. */
static shoal_status put_magnitudes(const shoal_decimal *value, shoal_number_side side,
                                   shoal_strbuf *out)
{
    char plain[2 * SHOAL_NUMBER_DIGITS_MAX];
    const int point = value->point;
    int whole = point > 0 ? point : 1, fraction = value->count - point;
    if (fraction < 0 || value->count == 0)
        fraction = 0;
    for (int i = 0; i < whole + fraction; i++) {
        const int digit = point > 0 ? i : i - 1 + point;
        plain[i] = digit >= 0 && digit < value->count ? value->digits[digit] : '0';
    }
    const magnitude m = {.whole = plain,
                         .whole_count = whole,
                         .fraction = plain + whole,
                         .fraction_count = fraction};
    SHOAL_TRY(put_side(&m, PLAIN, side, out));
    if (value->count)
        return put_scientific(value, side, out);
    return side == SHOAL_NUMBER_ABOVE ? put(out, "[1-9](?:\\.\\d+)?[eE][+-]?\\d+|") : SHOAL_OK;
}

shoal_status shoal_number_side_regex(const shoal_decimal *value, shoal_number_side side,
                                     bool inclusive, shoal_strbuf *out)
{
    static const char any[] = "(?:0|[1-9]\\d*)(?:\\.\\d+)?|[1-9](?:\\.\\d+)?[eE][+-]?\\d+|";
    const bool zero = value->count == 0, equal = side == SHOAL_NUMBER_EQUAL;
    /* The sign whose large magnitudes are on the wanted side, and the other one. */
    const bool mirrored = side == SHOAL_NUMBER_BELOW || (equal && value->negative);
    const char *near = mirrored ? "-" : "", *far = mirrored ? "" : "-";
    const bool beyond = equal || zero || value->negative == mirrored;
    SHOAL_TRY(put(out, "%s(?:", near));
    if (equal)
        SHOAL_TRY(put_magnitudes(value, SHOAL_NUMBER_EQUAL, out));
    else if (!beyond)
        SHOAL_TRY(put(out, "%s", any));
    else
        SHOAL_TRY(put_magnitudes(value, SHOAL_NUMBER_ABOVE, out));
    if (beyond && !equal && inclusive)
        SHOAL_TRY(put_magnitudes(value, SHOAL_NUMBER_EQUAL, out));
    close_group(out);
    if (beyond)
        return zero && (equal || inclusive) ? put(out, "|%s0(?:\\.0+)?", far) : SHOAL_OK;
    SHOAL_TRY(put(out, "|%s(?:", far));
    SHOAL_TRY(put_magnitudes(value, SHOAL_NUMBER_BELOW, out));
    if (inclusive)
        SHOAL_TRY(put_magnitudes(value, SHOAL_NUMBER_EQUAL, out));
    close_group(out);
    return SHOAL_OK;
}
