#include "coordinator/text/grammar/char_reader.h"

#include <string.h>

#include "coordinator/text/grammar/charset.h"

/* A part is a kind, a count and a value in one word. */
typedef enum {
    UTF8 = 1,   /* value: size << SIZE_AT | bits so far; count: bytes to come           */
    ESCAPE,     /* behind a backslash                                                   */
    HEX,        /* behind \u; value: digits so far, count of them                       */
    HIGH,       /* behind the escape of a high surrogate; value: its 10 bits << 16      */
    HIGH_SLASH, /* ... and a backslash                                                  */
    PAIR        /* ... and a u; digits so far in the low 16 bits of value, count of them */
} part_kind;

#define KIND_AT   29
#define COUNT_AT  26
#define SIZE_AT   22
#define LOW_FIRST 0xDC00u /* the first low surrogate */

static const char escape_names[] = "\"\\/bfnrt", escape_values[] = "\"\\/\b\f\n\r\t";

static uint32_t part_of(part_kind kind, uint32_t count, uint32_t value)
{
    return (uint32_t)kind << KIND_AT | count << COUNT_AT | value;
}

static part_kind kind_of(uint32_t part)
{
    return (part_kind)(part >> KIND_AT);
}

static uint32_t count_of(uint32_t part)
{
    return part >> COUNT_AT & 7;
}

static uint32_t value_of(uint32_t part)
{
    return part & ((1u << COUNT_AT) - 1);
}

/* ---- what may come of a part ----------------------------------------------------------------- */

/* Add [first, last] cut to [low, high], if anything is left. */
static size_t add(shoal_char_outlook *out, size_t n, shoal_char_range range, shoal_char_range cut,
                  uint32_t bytes)
{
    const uint32_t first = range.first > cut.first ? range.first : cut.first;
    const uint32_t last = range.last < cut.last ? range.last : cut.last;
    if (first <= last)
        out[n++] = (shoal_char_outlook){first, last, (int32_t)bytes};
    return n;
}

static size_t utf8_outlook(uint32_t part, shoal_char_outlook *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint32_t size = value_of(part) >> SIZE_AT, more = count_of(part);
    const uint32_t first = (value_of(part) & ((1u << SIZE_AT) - 1)) << 6 * more;
    const shoal_char_range range = {first, first | ((1u << 6 * more) - 1)};
    size_t n = 0;
    n = add(out, n, range, (shoal_char_range){least[size], SHOAL_SURROGATE_FIRST - 1}, more);
    return add(out, n, range,
               (shoal_char_range){size > 2 ? SHOAL_SURROGATE_LAST + 1 : SHOAL_CHAR_MAX + 1,
                                  SHOAL_CHAR_MAX},
               more);
}

/* The units that `count` digits can become. */
static shoal_char_range units_of(uint32_t digits, uint32_t count)
{
    const uint32_t rest = 4 * (4 - count);
    return (shoal_char_range){digits << rest, digits << rest | ((1u << rest) - 1)};
}

static size_t hex_outlook(uint32_t digits, uint32_t count, shoal_char_outlook *out, size_t n)
{
    const shoal_char_range range = units_of(digits, count);
    const uint32_t bytes = 4 - count;
    shoal_char_outlook high;
    n = add(out, n, range, (shoal_char_range){0, SHOAL_SURROGATE_FIRST - 1}, bytes);
    n = add(out, n, range, (shoal_char_range){SHOAL_SURROGATE_LAST + 1, 0xFFFF}, bytes);
    if (add(&high, 0, range, (shoal_char_range){SHOAL_SURROGATE_FIRST, LOW_FIRST - 1}, bytes))
        out[n++] = (shoal_char_outlook){
            0x10000 + ((high.first - SHOAL_SURROGATE_FIRST) << 10),
            0x10000 + ((high.last - SHOAL_SURROGATE_FIRST) << 10) + 0x3FF, high.bytes + 6};
    return n;
}

static size_t pair_outlook(uint32_t part, uint32_t bytes, uint32_t count, shoal_char_outlook *out)
{
    const uint32_t base = 0x10000 + (value_of(part) >> 16 << 10);
    const shoal_char_range all = {LOW_FIRST, SHOAL_SURROGATE_LAST};
    const size_t n = add(out, 0, units_of(value_of(part) & 0xFFFF, count), all, bytes);
    if (n) {
        out[0].first += base - LOW_FIRST;
        out[0].last += base - LOW_FIRST;
    }
    return n;
}

size_t shoal_char_outlooks(uint32_t part, shoal_char_outlook out[SHOAL_CHAR_OUTLOOKS])
{
    size_t n = 0;
    switch (kind_of(part)) {
    case UTF8: return utf8_outlook(part, out);
    case ESCAPE:
        for (; n < sizeof escape_values - 1; n++)
            out[n] = (shoal_char_outlook){(uint8_t)escape_values[n], (uint8_t)escape_values[n], 1};
        n = hex_outlook(0, 0, out, n);
        for (size_t i = sizeof escape_values - 1; i < n; i++)
            out[i].bytes++; /* the u */
        return n;
    case HEX: return hex_outlook(value_of(part), count_of(part), out, 0);
    case HIGH: return pair_outlook(part, 6, 0, out);
    case HIGH_SLASH: return pair_outlook(part, 5, 0, out);
    case PAIR: return pair_outlook(part, 4 - count_of(part), count_of(part), out);
    }
    return 0;
}

uint32_t shoal_char_stand_in(uint32_t part)
{
    /* By size and bytes to come: U+0080, U+1000, U+0800, U+40000, U+10000 and again U+10000 begin.
     */
    static const uint32_t bits[5][4] = {
        [2] = {0, 0x2}, [3] = {0, 0x20, 0x1}, [4] = {0, 0x400, 0x10, 0x1}};
    const uint32_t size = value_of(part) >> SIZE_AT, more = count_of(part);
    shoal_char_outlook outlook[SHOAL_CHAR_OUTLOOKS];
    if (part == 0 || kind_of(part) != UTF8)
        return 0;
    const size_t n = shoal_char_outlooks(part, outlook);
    if (n != 1 || outlook[0].last - outlook[0].first + 1 != 1u << 6 * more)
        return 0; /* not all of the bytes to come are possible */
    return part_of(UTF8, more, size << SIZE_AT | bits[size][more]);
}

/* ---- reading --------------------------------------------------------------------------------- */

static shoal_char_progress whole(uint32_t c, uint32_t *result)
{
    *result = c;
    return SHOAL_CHAR_WHOLE;
}

/* A new part, if a character can come of it. */
static shoal_char_progress partly(uint32_t part, uint32_t *result)
{
    shoal_char_outlook outlooks[SHOAL_CHAR_OUTLOOKS];
    *result = part;
    return shoal_char_outlooks(part, outlooks) ? SHOAL_CHAR_PART : SHOAL_CHAR_BROKEN;
}

static shoal_char_progress read_first(bool json_string, uint8_t byte, uint32_t *result)
{
    if (json_string && byte == '\\')
        return partly(part_of(ESCAPE, 0, 0), result);
    if (json_string && (byte < ' ' || byte == '"'))
        return SHOAL_CHAR_BROKEN;
    if (byte < 0x80)
        return whole(byte, result);
    if (byte < 0xC0 || byte > 0xF7)
        return SHOAL_CHAR_BROKEN;
    const uint32_t size = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return partly(part_of(UTF8, size - 1, size << SIZE_AT | (byte & (0x7Fu >> size))), result);
}

static shoal_char_progress read_utf8(uint32_t part, uint8_t byte, uint32_t *result)
{
    const uint32_t size = value_of(part) >> SIZE_AT, more = count_of(part) - 1;
    const uint32_t bits = (value_of(part) & ((1u << SIZE_AT) - 1)) << 6 | (byte & 0x3Fu);
    if ((byte & 0xC0) != 0x80)
        return SHOAL_CHAR_BROKEN;
    const shoal_char_progress p = partly(part_of(UTF8, more, size << SIZE_AT | bits), result);
    return p == SHOAL_CHAR_PART && more == 0 ? whole(bits, result) : p;
}

static shoal_char_progress read_escape(uint8_t byte, uint32_t *result)
{
    if (byte == 'u')
        return partly(part_of(HEX, 0, 0), result);
    const char *name = memchr(escape_names, byte, sizeof escape_names - 1);
    return name ? whole((uint8_t)escape_values[name - escape_names], result) : SHOAL_CHAR_BROKEN;
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* A digit of either escape; the value keeps what is above the digits. */
static shoal_char_progress read_hex(uint32_t part, uint8_t byte, uint32_t *result)
{
    const int digit = hex_value(byte);
    const uint32_t count = count_of(part) + 1, high = value_of(part) >> 16;
    const uint32_t digits = (value_of(part) & 0xFFF) << 4 | (uint32_t)digit;
    if (digit < 0)
        return SHOAL_CHAR_BROKEN;
    const shoal_char_progress p =
        partly(part_of(kind_of(part), count, high << 16 | digits), result);
    if (p != SHOAL_CHAR_PART || count < 4)
        return p;
    if (kind_of(part) == PAIR)
        return whole(0x10000 + (high << 10) + (digits - LOW_FIRST), result);
    if (digits >= SHOAL_SURROGATE_FIRST && digits < LOW_FIRST)
        return partly(part_of(HIGH, 0, (digits - SHOAL_SURROGATE_FIRST) << 16), result);
    return whole(digits, result);
}

shoal_char_progress shoal_char_read(bool json_string, uint32_t part, uint8_t byte, uint32_t *result)
{
    if (part == 0)
        return read_first(json_string, byte, result);
    switch (kind_of(part)) {
    case UTF8: return read_utf8(part, byte, result);
    case ESCAPE: return read_escape(byte, result);
    case HEX:
    case PAIR: return read_hex(part, byte, result);
    case HIGH:
        return byte == '\\' ? partly(part_of(HIGH_SLASH, 0, value_of(part)), result)
                            : SHOAL_CHAR_BROKEN;
    case HIGH_SLASH:
        return byte == 'u' ? partly(part_of(PAIR, 0, value_of(part)), result) : SHOAL_CHAR_BROKEN;
    }
    return SHOAL_CHAR_BROKEN;
}
