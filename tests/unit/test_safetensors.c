/* The header reader on bytes in memory: what the format's README allows is read exactly, everything
 * else is refused with a sentence that names what is wrong. Property: whatever is accepted tiles
 * the data part without hole or overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/safetensors.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

typedef struct {
    shoal_tensor_list list;
    char *header;
} parsed;

static void forget(parsed *p)
{
    shoal_tensor_list_free(&p->list);
    free(p->header);
}

/* Parse a header in front of `data_bytes` bytes of data. */
static shoal_status parse_bytes(const char *header, size_t bytes, uint64_t data_bytes, parsed *out)
{
    *out = (parsed){.header = malloc(bytes)}; /* exact size: ASan sees a step too far */
    assert_non_null(out->header);
    memcpy(out->header, header, bytes);
    return shoal_safetensors_parse("file", out->header, bytes, 8 + bytes + data_bytes, 3,
                                   &out->list);
}

static shoal_status parse_text(const char *header, uint64_t data_bytes, parsed *out)
{
    return parse_bytes(header, strlen(header), data_bytes, out);
}

static const shoal_tensor *find(const parsed *p, const char *name)
{
    for (size_t i = 0; i < p->list.count; i++)
        if (strcmp(p->list.items[i].name, name) == 0)
            return &p->list.items[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* ---- length of the header ---- */

static void header_lengths(void **state)
{
    static const struct {
        uint64_t length, file_bytes;
        const char *says; /* NULL: accepted */
    } cases[] = {
        {0, 8, "0 bytes"},
        {1, 100, "1 bytes"},
        {2, 10, NULL},
        {3, 10, "3 bytes in a file of 10"},
        {56, 72, NULL},
        {65, 72, "cut off"},
        {100000000, 100000008, NULL},
        {100000001, 200000000, "limit"},
        {1ull << 63, 72, "9223372036854775808"},
        {UINT64_MAX, 72, "18446744073709551615"},
    };
    uint8_t prefix[8];
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_store_le64(prefix, cases[i].length);
        const shoal_status st =
            shoal_safetensors_header_bytes("file", prefix, cases[i].file_bytes, &bytes);
        assert_int_equal(st, cases[i].says ? SHOAL_ERR_DATA : SHOAL_OK);
        if (cases[i].says)
            assert_non_null(strstr(shoal_error_text(), cases[i].says));
        else
            assert_int_equal(bytes, cases[i].length);
    }
    for (uint64_t short_file = 0; short_file < 8; short_file++)
        assert_int_equal(shoal_safetensors_header_bytes("file", prefix, short_file, &bytes),
                         SHOAL_ERR_DATA);
}

static void other_files(void **state)
{
    static const struct {
        const char *begin, *says;
    } cases[] = {
        {"GGUF\3\0\0\0", "GGUF"}, {"PK\3\4\0\0\0\0", "PyTorch"}, {"version https", "Git LFS"}};
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(
            shoal_safetensors_header_bytes("file", (const uint8_t *)cases[i].begin, 1000, &bytes),
            SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), cases[i].says));
    }
}

/* ---- accepted ---- */

static void plain_file(void **state)
{
    parsed p;
    (void)state;
    assert_int_equal(
        parse_text("{\"w\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]}}", 8, &p),
        SHOAL_OK);
    assert_int_equal(p.list.count, 1);
    const shoal_tensor *t = &p.list.items[0];
    assert_string_equal(t->name, "w");
    assert_int_equal(t->dtype, SHOAL_F16);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 2);
    assert_int_equal(t->file, 3);
    assert_int_equal(t->offset, 8 + 56);
    assert_int_equal(t->bytes, 8);
    forget(&p);
}

static void accepted_forms(void **state)
{
    static const struct {
        const char *header;
        uint64_t data;
        size_t tensors;
    } cases[] = {
        {"{}", 0, 0},
        {"{ }      ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"__metadata__\":null}", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"},\"a\":{\"dtype\":\"U8\",\"shape\":[3],"
         "\"data_offsets\":[0,3]}}   ",
         3, 1},
        /* a scalar has no dimensions */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        /* empty tensors where others begin, between and at the end */
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]},"
         "\"c\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
         "\"d\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]},"
         "\"e\":{\"dtype\":\"U8\",\"shape\":[5,0],\"data_offsets\":[6,6]}}",
         6, 5},
        /* any order of members, white space, members of a later version */
        {"{ \"a\" :\n{\t\"data_offsets\" : [ 0 , 2 ] , \"later\": [1, {\"x\": [true, null, -1.5e3,"
         " \"s\\n\"]}, {}], \"shape\":[ 2 ],\r\"dtype\":\"I8\" } }",
         2, 1},
        /* half a byte each, and three quarters */
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]},"
         "\"b\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[3,6]}}",
         6, 2},
        /* not in the order of the data */
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}",
         5, 2},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        parsed p;
        if (parse_text(cases[i].header, cases[i].data, &p) != SHOAL_OK)
            fail_msg("%s: %s", cases[i].header, shoal_error_text());
        assert_int_equal(p.list.count, cases[i].tensors);
        forget(&p);
    }
}

static void all_dtypes(void **state)
{
    (void)state;
    for (int type = 0; type < SHOAL_DTYPE_COUNT; type++) {
        char header[256];
        parsed p;
        const unsigned bytes = shoal_dtype_bits((shoal_dtype)type);
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,%u]}}",
                 shoal_dtype_name((shoal_dtype)type), bytes);
        assert_int_equal(parse_text(header, bytes, &p), SHOAL_OK);
        assert_int_equal(p.list.items[0].dtype, type);
        forget(&p);
    }
}

static void names_are_unescaped(void **state)
{
    parsed p;
    (void)state;
    assert_int_equal(
        parse_text(
            "{\"a\\u00e9\\/\\\"\\ud83d\\ude00\xc3\xa9\":{\"d\\u0074ype\":\"U8\",\"shape\":[1],"
            "\"data_offsets\":[0,1]}}",
            1, &p),
        SHOAL_OK);
    assert_string_equal(p.list.items[0].name, "a\xc3\xa9/\"\xf0\x9f\x98\x80\xc3\xa9");
    forget(&p);
}

/* ---- refused ---- */

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(offsets_a, offsets_b)                                                                  \
    "{\"first\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets_a "},"                  \
    "\"second\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets_b "}}"

typedef struct {
    const char *header;
    uint64_t data;
    const char *says, *also;
} refusal;

static const refusal refusals[] = {
    /* the JSON itself */
    {"[]", 0, "begin with '{'", NULL},
    {" {}", 0, "begin with '{'", NULL},
    {"{", 0, "string", NULL},
    {"{\"a\"", 0, "':'", NULL},
    {"{\"a\":", 0, "tensor a", "'{'"},
    {"{}x", 0, "spaces", NULL},
    {"{}\n", 0, "spaces", NULL},
    {"{},", 0, "spaces", NULL},
    {"{\"a\":1}", 0, "'{'", NULL},
    {"{\"\xff\":1}", 0, "UTF-8", NULL},
    {"{\"\xc0\xaf\":1}", 0, "UTF-8", NULL},
    {"{\"\xed\xa0\x80\":1}", 0, "UTF-8", NULL},
    {"{\"\xf4\x90\x80\x80\":1}", 0, "UTF-8", NULL},
    {"{\"\xe2\x82\"}", 0, "UTF-8", NULL},
    {"{\"a\nb\":1}", 0, "control character", NULL},
    {"{\"\\x\":1}", 0, "escape", NULL},
    {"{\"\\u12g4\":1}", 0, "escape", NULL},
    {"{\"\\ud800\":1}", 0, "surrogate", NULL},
    {"{\"\\ud800\\u0041\":1}", 0, "surrogate", NULL},
    {"{\"\\udc00\":1}", 0, "surrogate", NULL},
    {"{\"a\\u0000b\":{}}", 0, "NUL", NULL},
    {"{\"a\\u001b[31m\":{}}", 0, "control character", NULL},
    {"{\"\":{}}", 0, "empty", NULL},
    {"{\"a\":{\"x\":[[[[[[[1]]]]]]]}}", 0, "8 levels", "tensor a"},
    {"{\"a\":{\"x\":{\"b\":[{\"c\":[[[[1]]]]}]}}}", 0, "8 levels", NULL},
    {"{\"a\":{\"x\":tru}}", 0, "number", NULL},
    {"{\"a\":{\"x\":-}}", 0, "number", NULL},
    {"{\"a\":{\"x\":1.}}", 0, "number", NULL},
    {"{\"a\":{\"x\":[1,]}}", 0, "number", NULL},
    {"{\"a\":{\"x\":{1:2}}}", 0, "string", NULL},
    {ONE("U8", "[1]", "[0,1]") "{}", 1, "spaces", NULL},
    /* members */
    {"{\"a\":{}}", 0, "no dtype", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, "no data_offsets", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, "no shape", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "dtype twice", NULL},
    {"{\"a\":{\"shape\":[1],\"shape\":[1]}}", 0, "shape twice", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
     0, "two tensors are called a", NULL},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice", NULL},
    {"{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}", 0, "'k' twice", NULL},
    {"{\"__metadata__\":{\"k\":1}}", 0, "string", NULL},
    {"{\"__metadata__\":[]}", 0, "'{'", NULL},
    {"{\"__metadata__\":nul}", 0, "number", NULL},
    /* dtype and shape */
    {ONE("F17", "[1]", "[0,1]"), 1, "unknown dtype 'F17'", "tensor a"},
    {ONE("f16", "[1]", "[0,2]"), 2, "unknown dtype", NULL},
    {ONE("F32", "[4]", "[0,15]"), 15, "15 bytes", "needs 16"},
    {ONE("F32", "[]", "[0,8]"), 8, "8 bytes", "needs 4"},
    {ONE("U8", "[0]", "[0,1]"), 1, "needs 0", NULL},
    {ONE("F4", "[3]", "[0,2]"), 2, "whole bytes", NULL},
    {ONE("F4", "[4]", "[0,4]"), 4, "needs 2", NULL},
    {ONE("U8", "[4294967296,4294967296]", "[0,0]"), 0, "overflow", "tensor a"},
    {ONE("U8", "[2305843009213693952]", "[0,0]"), 0, "overflow", NULL},
    {ONE("U8", "[9223372036854775808]", "[0,0]"), 0, "2^63-1", NULL},
    {ONE("U8", "[18446744073709551616]", "[0,0]"), 0, "2^64-1", NULL},
    {ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "8 dimensions", NULL},
    {ONE("U8", "[1.0]", "[0,1]"), 1, "whole", NULL},
    {ONE("U8", "[1e0]", "[0,1]"), 1, "whole", NULL},
    {ONE("U8", "[-1]", "[0,1]"), 1, "negative", NULL},
    {ONE("U8", "[01]", "[0,1]"), 1, "leading zeros", NULL},
    {ONE("U8", "[1,]", "[0,1]"), 1, "whole number", NULL},
    {ONE("U8", "[\"1\"]", "[0,1]"), 1, "whole number", NULL},
    {ONE("U8", "1", "[0,1]"), 1, "'['", NULL},
    /* places */
    {ONE("U8", "[4]", "[4,0]"), 4, "begins at 4 and ends at 0", NULL},
    {ONE("U8", "[4]", "[-4,0]"), 4, "negative", NULL},
    {ONE("U8", "[4]", "[0.0,4]"), 4, "whole", NULL},
    {ONE("U8", "[4]", "[0,4,8]"), 4, "']'", NULL},
    {ONE("U8", "[4]", "[0]"), 4, "','", NULL},
    {ONE("U8", "[4]", "[0,18446744073709551615]"), 4, "18446744073709551615", "tensor a"},
    {ONE("U8", "[4]", "[0,18446744073709551616]"), 4, "2^64-1", NULL},
    {ONE("U8", "[4]", "[18446744073709551612,18446744073709551615]"), 4, "ends at", NULL},
    {ONE("U8", "[4]", "[0,4]"), 3, "only 3", "cut off"},
    {ONE("U8", "[4]", "[0,4]"), 5, "1 bytes after", "(a)"},
    {"{}", 1, "1 bytes after", NULL},
    {TWO("[0,4]", "[3,7]"), 7, "first", "second"},
    {TWO("[0,4]", "[0,4]"), 4, "overlap", "second"},
    {TWO("[4,8]", "[0,4]") "", 9, "1 bytes after", "first"},
    {TWO("[0,4]", "[5,9]"), 9, "hole of 1 bytes", "second"},
    {TWO("[1,5]", "[5,9]"), 9, "hole of 1 bytes", "first"},
    /* an empty tensor inside another one */
    {"{\"full\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"hollow\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
     4, "full", "hollow"},
};

static void refused_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(refusals); i++) {
        const refusal *r = &refusals[i];
        parsed p;
        if (parse_text(r->header, r->data, &p) != SHOAL_ERR_DATA)
            fail_msg("accepted: %s", r->header);
        if (!strstr(shoal_error_text(), r->says) ||
            (r->also && !strstr(shoal_error_text(), r->also)) ||
            strncmp(shoal_error_text(), "file", 4) != 0)
            fail_msg("%s: %s", r->header, shoal_error_text());
        assert_int_equal(p.list.count, 0);
        forget(&p);
    }
}

static void raw_nul(void **state)
{
    static const char header[] = "{\"a\0b\":{}}";
    parsed p;
    (void)state;
    assert_int_equal(parse_bytes(header, sizeof header - 1, 0, &p), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "NUL"));
    forget(&p);
}

/* Cut anywhere, a header is refused. */
static void every_prefix(void **state)
{
    static const char whole[] =
        "{\"__metadata__\":{\"k\":\"\\u00e9\"},\"a\":{\"dtype\":\"U8\",\"shape\":[2,1],"
        "\"data_offsets\":[0,2],\"x\":[1,{\"y\":null}]}}";
    parsed p;
    (void)state;
    for (size_t bytes = 1; bytes < sizeof whole - 1; bytes++) {
        assert_int_equal(parse_bytes(whole, bytes, 2, &p), SHOAL_ERR_DATA);
        forget(&p);
    }
    assert_int_equal(parse_bytes(whole, sizeof whole - 1, 2, &p), SHOAL_OK);
    forget(&p);
}

static void name_lengths(void **state)
{
    (void)state;
    for (size_t length = SHOAL_TENSOR_NAME_MAX - 1; length <= SHOAL_TENSOR_NAME_MAX + 1; length++) {
        char header[2048], name[1100];
        parsed p;
        memset(name, 'n', length);
        name[length] = '\0';
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
        assert_int_equal(parse_text(header, 1, &p),
                         length <= SHOAL_TENSOR_NAME_MAX ? SHOAL_OK : SHOAL_ERR_DATA);
        forget(&p);
    }
}

/* ---- properties ---- */

static uint64_t seed = 20261121;

static uint64_t next_random(uint64_t limit)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % limit;
}

enum { RANDOM_TENSORS = 40 };

typedef struct {
    int64_t rows, columns;
    uint64_t begin;
    int dtype;
} laid;

/* Lay out tensors one after the other, list them in another order, and find them again. */
static size_t random_header(laid *all, char *text, size_t room, uint64_t *data)
{
    static const int dtypes[] = {SHOAL_F32, SHOAL_F16, SHOAL_BF16, SHOAL_I32, SHOAL_U8, SHOAL_F64};
    int order[RANDOM_TENSORS];
    uint64_t at = 0;
    for (int i = 0; i < RANDOM_TENSORS; i++) {
        all[i] = (laid){(int64_t)next_random(5), (int64_t)next_random(9), at,
                        dtypes[next_random(LENGTH(dtypes))]};
        at +=
            (uint64_t)(all[i].rows * all[i].columns) * shoal_dtype_bytes((shoal_dtype)all[i].dtype);
        order[i] = i;
    }
    for (int i = RANDOM_TENSORS - 1; i > 0; i--) {
        const int j = (int)next_random((uint64_t)i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    size_t used = 0;
    for (int i = 0; i < RANDOM_TENSORS; i++) {
        const laid *t = &all[order[i]];
        const uint64_t bytes =
            (uint64_t)(t->rows * t->columns) * shoal_dtype_bytes((shoal_dtype)t->dtype);
        used += (size_t)snprintf(
            text + used, room - used,
            "%s\"t%d\":{\"dtype\":\"%s\",\"shape\":[%d,%d],\"data_offsets\":[%d,%d]}",
            i ? "," : "{", order[i], shoal_dtype_name((shoal_dtype)t->dtype), (int)t->rows,
            (int)t->columns, (int)t->begin, (int)(t->begin + bytes));
    }
    used += (size_t)snprintf(text + used, room - used, "}");
    *data = at;
    return used;
}

static void random_layouts(void **state)
{
    static char text[RANDOM_TENSORS * 100];
    laid all[RANDOM_TENSORS];
    (void)state;
    for (int round = 0; round < 200; round++) {
        uint64_t data;
        parsed p;
        const size_t bytes = random_header(all, text, sizeof text, &data);
        assert_int_equal(parse_bytes(text, bytes, data, &p), SHOAL_OK);
        assert_int_equal(p.list.count, RANDOM_TENSORS);
        for (int i = 0; i < RANDOM_TENSORS; i++) {
            char name[16];
            snprintf(name, sizeof name, "t%d", i);
            const shoal_tensor *t = find(&p, name);
            assert_int_equal(t->offset, 8 + bytes + all[i].begin);
            assert_int_equal(t->shape[0], all[i].rows);
            assert_int_equal(t->shape[1], all[i].columns);
            assert_int_equal(t->dtype, all[i].dtype);
        }
        forget(&p);
    }
}

static int by_offset(const void *a, const void *b)
{
    const shoal_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Whatever came through: the tensors tile the data. */
static void check_tiling(parsed *p, size_t header_bytes, uint64_t data)
{
    uint64_t at = 8 + header_bytes;
    qsort(p->list.items, p->list.count, sizeof *p->list.items, by_offset);
    for (size_t i = 0; i < p->list.count; i++) {
        uint64_t bits = shoal_dtype_bits(p->list.items[i].dtype);
        for (int d = 0; d < p->list.items[i].rank; d++)
            bits *= (uint64_t)p->list.items[i].shape[d];
        assert_int_equal(p->list.items[i].offset, at);
        assert_int_equal(p->list.items[i].bytes * 8, bits);
        at += p->list.items[i].bytes;
    }
    assert_int_equal(at, 8 + header_bytes + data);
}

static void random_damage(void **state)
{
    static char text[RANDOM_TENSORS * 100];
    static const char likely[] = "0123456789{}[]\",:-.eE \\u";
    laid all[RANDOM_TENSORS];
    int accepted = 0;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint64_t data;
        parsed p;
        const size_t bytes = random_header(all, text, sizeof text, &data);
        for (uint64_t hits = 1 + next_random(3); hits > 0; hits--)
            text[next_random(bytes)] =
                next_random(4) ? likely[next_random(sizeof likely - 1)] : (char)next_random(256);
        shoal_error_clear();
        if (parse_bytes(text, bytes, data, &p) == SHOAL_OK) {
            check_tiling(&p, bytes, data);
            accepted++;
        } else {
            assert_int_equal(strncmp(shoal_error_text(), "file: ", 6), 0);
        }
        forget(&p);
    }
    assert_true(accepted > 0); /* a changed letter of a name is no damage */
}

static void memory_runs_out(void **state)
{
    static char text[RANDOM_TENSORS * 100];
    laid all[RANDOM_TENSORS];
    uint64_t data;
    (void)state;
    const size_t bytes = random_header(all, text, sizeof text, &data);
    const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT);
    shoal_status st = SHOAL_ERR_TEMPORARY;
    for (uint64_t n = 1; st != SHOAL_OK; n++) {
        parsed p;
        shoal_mem_fail_nth(n);
        st = parse_bytes(text, bytes, data, &p);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_OK || st == SHOAL_ERR_TEMPORARY);
        forget(&p);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lengths),  cmocka_unit_test(other_files),
        cmocka_unit_test(plain_file),      cmocka_unit_test(accepted_forms),
        cmocka_unit_test(all_dtypes),      cmocka_unit_test(names_are_unescaped),
        cmocka_unit_test(refused_forms),   cmocka_unit_test(raw_nul),
        cmocka_unit_test(every_prefix),    cmocka_unit_test(name_lengths),
        cmocka_unit_test(random_layouts),  cmocka_unit_test(random_damage),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
