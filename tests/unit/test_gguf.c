/* GGUF headers written here byte by byte: every type of value comes back, tensors lie where the
 * format says, and what is cut, doubled or beyond a limit is refused. And the vocabularies that are
 * put into headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/gguf.h"
#include "shard/gguf_vocab_write.h"
#include "tests/support/model_maker.h"

/* ---- a writer ---- */

typedef struct {
    unsigned char data[4096];
    size_t bytes;
} file;

static void put(file *f, const void *data, size_t bytes)
{
    assert_true(bytes <= sizeof f->data - f->bytes);
    memcpy(f->data + f->bytes, data, bytes);
    f->bytes += bytes;
}

static void put_u32(file *f, uint32_t value)
{
    unsigned char le[4];
    shoal_store_le32(le, value);
    put(f, le, sizeof le);
}

static void put_u64(file *f, uint64_t value)
{
    unsigned char le[8];
    shoal_store_le64(le, value);
    put(f, le, sizeof le);
}

static void put_text(file *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

static void begin(file *f, uint32_t version, uint64_t tensors, uint64_t entries)
{
    f->bytes = 0;
    put(f, "GGUF", 4);
    put_u32(f, version);
    put_u64(f, tensors);
    put_u64(f, entries);
}

static void put_key(file *f, const char *key, uint32_t type)
{
    put_text(f, key);
    put_u32(f, type);
}

static void put_tensor(file *f, const char *name, uint64_t inner, uint64_t outer, uint32_t type,
                       uint64_t offset)
{
    put_text(f, name);
    put_u32(f, 2);
    put_u64(f, inner);
    put_u64(f, outer);
    put_u32(f, type);
    put_u64(f, offset);
}

/* ---- metadata ---- */

static void put_values(file *f)
{
    put_key(f, "u8", SHOAL_GGUF_U8), put(f, "\xFF", 1);
    put_key(f, "i8", SHOAL_GGUF_I8), put(f, "\xFF", 1);
    put_key(f, "u16", SHOAL_GGUF_U16), put(f, "\x01\x80", 2);
    put_key(f, "i16", SHOAL_GGUF_I16), put(f, "\x01\x80", 2);
    put_key(f, "u32", SHOAL_GGUF_U32), put_u32(f, 0x80000001u);
    put_key(f, "i32", SHOAL_GGUF_I32), put_u32(f, 0x80000001u);
    put_key(f, "u64", SHOAL_GGUF_U64), put_u64(f, UINT64_MAX);
    put_key(f, "i64", SHOAL_GGUF_I64), put_u64(f, UINT64_MAX);
    put_key(f, "f32", SHOAL_GGUF_F32), put_u32(f, 0x40200000u);         /* 2.5   */
    put_key(f, "f64", SHOAL_GGUF_F64), put_u64(f, 0xBFC0000000000000u); /* -0.125 */
    put_key(f, "yes", SHOAL_GGUF_BOOL), put(f, "\x01", 1);
    put_key(f, "text", SHOAL_GGUF_STRING), put_text(f, "h\xC3\xA9");
    put_key(f, "words", SHOAL_GGUF_ARRAY), put_u32(f, SHOAL_GGUF_STRING), put_u64(f, 3);
    put_text(f, "a"), put_text(f, ""), put_text(f, "bc");
    put_key(f, "scores", SHOAL_GGUF_ARRAY), put_u32(f, SHOAL_GGUF_F32), put_u64(f, 2);
    put_u32(f, 0x3F800000u), put_u32(f, 0xC0000000u); /* 1, -2 */
    put_key(f, "nested", SHOAL_GGUF_ARRAY), put_u32(f, SHOAL_GGUF_ARRAY), put_u64(f, 1);
    put_u32(f, SHOAL_GGUF_U8), put_u64(f, 2), put(f, "xy", 2);
}
enum { VALUES = 15 };

static void test_values(void **state)
{
    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"u8", 255},         {"i8", -1},           {"u16", 32769}, {"i16", -32767},
                    {"u32", 2147483649}, {"i32", -2147483647}, {"i64", -1},    {"none", 7}};
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        file f;
        shoal_gguf *g;
        double number = 0;
        bool yes = false;
        shoal_gguf_text text = {0};
        const shoal_gguf_entry *e;
        uint64_t at = 0;
        begin(&f, version, 0, VALUES);
        put_values(&f);
        assert_int_equal(shoal_gguf_parse(f.data, f.bytes, f.bytes, &g), SHOAL_OK);
        for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
            int64_t value = 7; /* stays where the key is absent */
            assert_int_equal(shoal_gguf_integer(g, integers[i].key, &value), SHOAL_OK);
            assert_true(value == integers[i].value);
        }
        assert_int_equal(shoal_gguf_integer(g, "u64", &(int64_t){0}), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_integer(g, "f32", &(int64_t){0}), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_number(g, "f32", &number), SHOAL_OK);
        assert_true(number == 2.5);
        assert_int_equal(shoal_gguf_number(g, "f64", &number), SHOAL_OK);
        assert_true(number == -0.125);
        assert_int_equal(shoal_gguf_number(g, "text", &number), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_bool(g, "yes", &yes), SHOAL_OK);
        assert_true(yes);
        assert_int_equal(shoal_gguf_bool(g, "u8", &yes), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_string(g, "text", &text), SHOAL_OK);
        assert_true(text.bytes == 3 && memcmp(text.data, "h\xC3\xA9", 3) == 0);
        assert_int_equal(shoal_gguf_strings(g, "words", &e), SHOAL_OK);
        assert_int_equal(e->count, 3);
        assert_int_equal(shoal_gguf_next_string(e, &at).bytes, 1);
        assert_int_equal(shoal_gguf_next_string(e, &at).bytes, 0);
        text = shoal_gguf_next_string(e, &at);
        assert_true(text.bytes == 2 && memcmp(text.data, "bc", 2) == 0 && at == e->bytes);
        assert_int_equal(shoal_gguf_numbers(g, "scores", &e), SHOAL_OK);
        assert_true(shoal_gguf_number_at(e, 0) == 1 && shoal_gguf_number_at(e, 1) == -2);
        assert_int_equal(shoal_gguf_numbers(g, "words", &e), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_strings(g, "nested", &e), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_strings(g, "none", &e), SHOAL_OK);
        assert_null(e);
        shoal_gguf_free(g);
    }
}

/* ---- tensors ---- */

static void test_tensors(void **state)
{
    file f;
    shoal_gguf *g;
    (void)state;
    begin(&f, 3, 2, 1);
    put_key(&f, "general.alignment", SHOAL_GGUF_U32), put_u32(&f, 64);
    put_tensor(&f, "b", 512, 3, 12, 64); /* Q4_K: 2 blocks of 144 bytes a row */
    put_tensor(&f, "a", 8, 2, 0, 0);     /* F32 */
    const uint64_t data = (f.bytes + 63) / 64 * 64;
    const uint64_t end = data + 64 + 3 * 2 * 144;
    assert_int_equal(shoal_gguf_parse(f.data, f.bytes, end, &g), SHOAL_OK);
    assert_int_equal(shoal_gguf_tensors(g), 2);
    const shoal_gguf_tensor *a = shoal_gguf_tensor_find(g, "a");
    const shoal_gguf_tensor *b = shoal_gguf_tensor_find(g, "b");
    assert_ptr_equal(a, shoal_gguf_tensor_at(g, 0));
    assert_true(a->offset == data && a->bytes == 64);
    assert_true(b->offset == data + 64 && b->bytes == 3 * 2 * 144);
    assert_true(b->rank == 2 && b->dims[0] == 512 && b->dims[1] == 3);
    assert_null(shoal_gguf_tensor_find(g, "c"));
    shoal_gguf_free(g);
    assert_int_equal(shoal_gguf_parse(f.data, f.bytes, end - 1, &g), SHOAL_ERR_DATA);
}

/* ---- what is refused ---- */

static void refuse(const file *f, const char *says)
{
    shoal_gguf *g;
    assert_int_equal(shoal_gguf_parse(f->data, f->bytes, 1u << 20, &g), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), says))
        fail_msg("\"%s\" does not say \"%s\"", shoal_error_text(), says);
}

static void test_refused(void **state)
{
    file f;
    (void)state;
    begin(&f, 1, 0, 0), refuse(&f, "version 1");
    begin(&f, 0x03000000u, 0, 0), refuse(&f, "big-endian");
    begin(&f, 3, 0, UINT64_MAX), refuse(&f, "entries");
    begin(&f, 3, UINT64_MAX, 0), refuse(&f, "tensors");
    begin(&f, 3, 0, 1), put_key(&f, "key", 13), put_u64(&f, 0), refuse(&f, "unknown type 13");
    begin(&f, 3, 0, 1), put_key(&f, "key", SHOAL_GGUF_ARRAY), put_u32(&f, SHOAL_GGUF_U64);
    put_u64(&f, UINT64_MAX / 8 + 2), refuse(&f, "the header ends");
    begin(&f, 3, 0, 2), put_key(&f, "key", SHOAL_GGUF_U8), put(&f, "a", 1);
    put_key(&f, "key", SHOAL_GGUF_U8), put(&f, "b", 1), refuse(&f, "twice");
    begin(&f, 3, 0, 1), put_key(&f, "general.alignment", SHOAL_GGUF_U32), put_u32(&f, 48);
    refuse(&f, "power of two");
    begin(&f, 3, 0, 1), put_key(&f, "deep", SHOAL_GGUF_ARRAY);
    for (int i = 0; i < 8; i++)
        put_u32(&f, SHOAL_GGUF_ARRAY), put_u64(&f, 1);
    put_u32(&f, SHOAL_GGUF_U8), put_u64(&f, 0), refuse(&f, "nested");
    begin(&f, 3, 1, 0), put_tensor(&f, "t", 8, 8, 99, 0), refuse(&f, "type is unknown");
    begin(&f, 3, 1, 0), put_tensor(&f, "t", 33, 1, 2, 0), refuse(&f, "blocks");
    begin(&f, 3, 1, 0), put_tensor(&f, "t", 1u << 31, UINT64_MAX, 0, 0), refuse(&f, "64 bits");
    begin(&f, 3, 1, 0), put_tensor(&f, "t", 8, 8, 0, 1), refuse(&f, "aligned");
    begin(&f, 3, 1, 0), put_tensor(&f, "t", 8, 8, 0, UINT64_MAX - 31), refuse(&f, "outside");
    begin(&f, 3, 1, 0), put_tensor(&f, "", 8, 8, 0, 0), refuse(&f, "name of 0 bytes");
    begin(&f, 3, 2, 0), put_tensor(&f, "t", 8, 8, 0, 0), put_tensor(&f, "u", 8, 8, 0, 224);
    refuse(&f, "overlaps");
}

/* Every cut is refused, read from memory that ends there; where the file goes on, as one that
 * wants more. */
static void test_cut(void **state)
{
    file f;
    (void)state;
    begin(&f, 3, 1, VALUES);
    put_values(&f);
    put_tensor(&f, "t", 8, 8, 0, 0);
    for (size_t bytes = 0; bytes < f.bytes; bytes++) {
        shoal_gguf *g;
        void *copy = malloc(bytes ? bytes : 1);
        assert_non_null(copy);
        memcpy(copy, f.data, bytes);
        assert_int_equal(shoal_gguf_parse(copy, bytes, bytes, &g), SHOAL_ERR_DATA);
        assert_int_equal(shoal_gguf_parse(copy, bytes, 1u << 20, &g),
                         bytes < 24 ? SHOAL_ERR_DATA : SHOAL_ERR_TEMPORARY);
        free(copy);
    }
}

/* ---- vocabularies that are written ---- */

/* Put the vocabulary of two tokens with these merges into a header; `b` may have failed before. */
static shoal_status put_vocab(const char *merges, shoal_gguf_builder *b)
{
    static const shoal_model model = {.vocab = 2, .bos = -1};
    char text[8192];
    shoal_maker *maker = shoal_maker_begin();
    snprintf(text, sizeof text,
             "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[%s]},"
             "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
             merges);
    shoal_maker_text(maker, "tokenizer.json", text);
    const shoal_status st = shoal_gguf_put_vocab(shoal_maker_path(maker), &model, b);
    shoal_maker_end(maker);
    return st;
}

/* Merges of any length, as one string or as two. */
static void test_merges(void **state)
{
    enum { LONG = 3000 };
    char merges[LONG + 64], expected[LONG + 3] = "a ";
    shoal_gguf_builder b = {0};
    const shoal_gguf_entry *entry;
    shoal_gguf *g;
    uint8_t *header;
    uint64_t bytes, at = 0;
    (void)state;
    memset(expected + 2, 'b', LONG);
    snprintf(merges, sizeof merges, "\"a b\",[\"a\",\"%s\"]", expected + 2);
    assert_int_equal(put_vocab(merges, &b), SHOAL_OK);
    assert_int_equal(shoal_gguf_builder_finish(&b, &header, &bytes), SHOAL_OK);
    assert_int_equal(shoal_gguf_parse(header, bytes, bytes, &g), SHOAL_OK);
    assert_int_equal(shoal_gguf_strings(g, "tokenizer.ggml.merges", &entry), SHOAL_OK);
    assert_non_null(entry);
    assert_int_equal(entry->count, 2);
    assert_int_equal(shoal_gguf_next_string(entry, &at).bytes, 3);
    const shoal_gguf_text second = shoal_gguf_next_string(entry, &at);
    assert_int_equal(second.bytes, LONG + 2);
    assert_memory_equal(second.data, expected, LONG + 2);
    shoal_gguf_free(g);
    shoal_free(header);
}

/* A merge that is none leaves the vocabulary out; a builder that has failed stays so. */
static void test_no_vocab(void **state)
{
    static const char *const none[] = {"5", "[\"a\"]", "[\"a\",5]", "[\"a\",\"b\",\"c\"]"};
    shoal_gguf_builder b = {0};
    uint8_t *header;
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(put_vocab(none[i], &b), SHOAL_OK);
        assert_int_equal(b.entry_count, 0);
    }
    b.status = SHOAL_ERR_TEMPORARY;
    assert_int_equal(put_vocab("\"a b\"", &b), SHOAL_OK);
    assert_int_equal(shoal_gguf_builder_finish(&b, &header, &bytes), SHOAL_ERR_TEMPORARY);
    shoal_gguf_builder_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_merges),  cmocka_unit_test(test_no_vocab),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
