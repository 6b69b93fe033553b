/* tests/unit/test_digest.c - digests against published vectors.
 *
 * XXH3-128: the sanity vectors of the xxHash project (seed 0) over its pseudo-random buffer.
 * SHA-256: FIPS 180-4 examples. HMAC-SHA256: RFC 4231. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/digest.h"

#define BUFFER_BYTES 2367

/* The buffer the xxHash vectors are defined over: the top bytes of a multiplicative sequence. */
static void fill_vector_buffer(uint8_t *out)
{
    uint64_t state = 2654435761u;

    for (int i = 0; i < BUFFER_BYTES; i++) {
        out[i] = (uint8_t)(state >> 56);
        state *= 11400714785074694797u;
    }
}

static const struct {
    size_t bytes;
    const char *hex; /* high half, then low half: the canonical order */
} xxh128_vectors[] = {
    {0, "99aa06d3014798d86001c324468d497f"},    {1, "a6cd5e9392000f6ac44bdff4074eecdb"},
    {6, "082afe0b8162d12a3e7039bdda43cfc6"},    {12, "6e3efd8fc7802b18061a192713f69ad9"},
    {24, "0ce966e4678d37611e7044d28b1b901d"},   {128, "39992220e045260aebb15e34a7fb5ab1"},
    {241, "99a80ecf0ecfc647c5a639ecd2030e5e"},  {512, "18d2d110dcc9bca1617e49599013cb6b"},
    {2048, "f736557fd47073a5dd59e2c3a5f038e0"}, {2367, "e89c0f6ff369b427cb37aeb9e5d361ed"},
};

static void check_hex(const uint8_t *digest, size_t bytes, const char *expected)
{
    char text[2 * SHOAL_SHA256_BYTES + 1];

    shoal_hex(digest, bytes, text);
    assert_string_equal(text, expected);
}

static void test_xxh128(void **state)
{
    (void)state;
    uint8_t buffer[BUFFER_BYTES], digest[SHOAL_XXH128_BYTES];

    fill_vector_buffer(buffer);
    for (size_t i = 0; i < sizeof xxh128_vectors / sizeof xxh128_vectors[0]; i++) {
        shoal_xxh128(buffer, xxh128_vectors[i].bytes, digest);
        check_hex(digest, sizeof digest, xxh128_vectors[i].hex);
    }
    shoal_xxh128(NULL, 0, digest);
    check_hex(digest, sizeof digest, xxh128_vectors[0].hex);
}

static void test_xxh128_stream(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 3, 64, 255, 256, 257, 1000, 5000};
    uint8_t buffer[BUFFER_BYTES], digest[SHOAL_XXH128_BYTES];
    shoal_xxh128_stream stream;

    fill_vector_buffer(buffer);
    for (size_t v = 0; v < sizeof xxh128_vectors / sizeof xxh128_vectors[0]; v++)
        for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
            const size_t total = xxh128_vectors[v].bytes;

            shoal_xxh128_begin(&stream);
            for (size_t at = 0; at < total; at += steps[s])
                shoal_xxh128_add(&stream, buffer + at,
                                 steps[s] < total - at ? steps[s] : total - at);
            shoal_xxh128_finish(&stream, digest);
            check_hex(digest, sizeof digest, xxh128_vectors[v].hex);
        }
}

/* A number is hashed as its eight bytes, lowest first, on every machine. */
static void test_xxh128_number(void **state)
{
    (void)state;
    static const uint8_t raw[16] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t expected[SHOAL_XXH128_BYTES], digest[SHOAL_XXH128_BYTES];
    shoal_xxh128_stream stream;

    shoal_xxh128(raw, sizeof raw, expected);
    shoal_xxh128_begin(&stream);
    shoal_xxh128_add_i64(&stream, 0x1122334455667788);
    shoal_xxh128_add_i64(&stream, -2);
    shoal_xxh128_finish(&stream, digest);
    assert_memory_equal(digest, expected, sizeof digest);
}

static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

static void test_sha256(void **state)
{
    (void)state;
    uint8_t digest[SHOAL_SHA256_BYTES];

    assert_int_equal(shoal_sha256("", 0, digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(shoal_sha256("abc", 3, digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(shoal_sha256(two_blocks, strlen(two_blocks), digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* A million times 'a', in a file, as FIPS 180-4 has it. */
static void test_sha256_file(void **state)
{
    (void)state;
    char path[] = "/tmp/shoal-digest-XXXXXX";
    uint8_t digest[SHOAL_SHA256_BYTES] = {0};
    const int fd = mkstemp(path);
    char line[1000];

    assert_true(fd >= 0);
    memset(line, 'a', sizeof line);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, line, sizeof line), sizeof line);
    close(fd);
    shoal_mem_fail_nth(1);
    assert_int_equal(shoal_sha256_file(path, digest), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_sha256_file(path, digest), SHOAL_OK);
    unlink(path);
    check_hex(digest, sizeof digest,
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_int_equal(shoal_sha256_file(path, digest), SHOAL_ERR_NOTFOUND);
    assert_non_null(strstr(shoal_error_text(), path));
    assert_int_equal(shoal_sha256_file("/", digest), SHOAL_ERR_IO);
}

static void test_hmac(void **state)
{
    (void)state;
    uint8_t digest[SHOAL_SHA256_BYTES], key[131], data[50];

    memset(key, 0x0b, 20);
    assert_int_equal(shoal_hmac_sha256(key, 20, "Hi There", 8, digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(shoal_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest),
                     SHOAL_OK);
    check_hex(digest, sizeof digest,
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    assert_int_equal(shoal_hmac_sha256(key, 20, data, sizeof data, digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    assert_int_equal(shoal_hmac_sha256(key, 131, text, strlen(text), digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(shoal_hmac_sha256(NULL, 0, "", 0, digest), SHOAL_OK);
    check_hex(digest, sizeof digest,
              "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_secret_equal(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};

    assert_true(shoal_secret_equal(a, b, 32));
    for (int i = 0; i < 256; i++) {
        b[i / 8] = (uint8_t)(1u << (i % 8));
        assert_false(shoal_secret_equal(a, b, 32));
        b[i / 8] = 0;
    }
    b[31] = 1;
    assert_true(shoal_secret_equal(a, b, 31));
}

static void test_hex(void **state)
{
    (void)state;
    uint8_t all[256], back[256];
    char text[513];

    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    shoal_hex(all, 256, text);
    assert_true(shoal_unhex(text, 256, back));
    assert_memory_equal(all, back, 256);
    assert_true(shoal_unhex("AbCd", 2, back));
    assert_int_equal(back[0], 0xab);
    assert_int_equal(back[1], 0xcd);
    back[0] = 7;
    assert_false(shoal_unhex("AbC", 2, back));
    assert_false(shoal_unhex("AbCde", 2, back));
    assert_false(shoal_unhex("AbCg", 2, back));
    assert_false(shoal_unhex("", 2, back));
    assert_int_equal(back[0], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xxh128),        cmocka_unit_test(test_xxh128_stream),
        cmocka_unit_test(test_xxh128_number), cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_file),   cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_secret_equal),  cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
