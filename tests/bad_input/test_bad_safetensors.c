/* Safetensors files that must be refused (MF-01 to MF-07): each row makes a folder, opens it as the
 * program does, and expects a code and a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bad_input/bad_folder.h"

/* ---- MF-01: lengths ---- */

static shoal_maker *short_file(int bytes)
{
    shoal_maker *maker = good();
    shoal_maker_file(maker, "model.safetensors", "\2\0\0\0\0\0\0", (size_t)bytes);
    return maker;
}

/* A sparse file that claims a header of a certain length. */
static shoal_maker *claims(uint64_t header, uint64_t file_bytes)
{
    char path[512];
    uint8_t prefix[8];
    shoal_maker *maker = good();
    shoal_store_le64(prefix, header);
    shoal_maker_file(maker, "model.safetensors", prefix, sizeof prefix);
    path_of(maker, "model.safetensors", path, sizeof path);
    assert_int_equal(truncate(path, (off_t)file_bytes), 0);
    return maker;
}

static shoal_maker *claimed_length(int which)
{
    static const uint64_t cases[][2] = {
        {0, 100},
        {101, 100},
        {1ull << 63, 100},
        {UINT64_MAX, 100},
        {100000001, 200000000},
        {100000000, 200000000}, /* allowed, but nothing in it */
    };
    return claims(cases[which][0], cases[which][1]);
}

/* ---- MF-02, 04, 05, 06: headers written out ---- */

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    uint64_t data;
} headers[] = {
    {"[{}]", 0},
    {"{\"\xff\":{}}", 0},
    {"{" T("a", "U8", "[1]", "[0,1]") "}<html>", 1},
    {"{" T("a", "U8", "[4]", "[4,0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[-4,0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0.0,4.0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0,18446744073709551615]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[2,6]") "}", 6},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[5,9]") "}", 9},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[0]", "[2,2]") "}", 4},
    {"{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0},
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1},
    {"{" T("a", "Q4", "[4]", "[0,4]") "}", 4},
    {"{" T("a", "F32", "[4]", "[0,4]") "}", 4},
    {"{" T("a", "F4", "[3]", "[0,2]") "}", 2},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("a", "U8", "[4]", "[4,8]") "}", 8},
    {"{}", 0},
};

enum {
    H_NO_BRACE,
    H_UTF8,
    H_GARBAGE,
    H_BACKWARDS,
    H_NEGATIVE,
    H_FLOAT,
    H_HUGE,
    H_OVERLAP,
    H_HOLE,
    H_HOLLOW,
    H_OVERFLOW,
    H_RANK,
    H_DTYPE,
    H_BYTES,
    H_HALF_BYTE,
    H_TWICE,
    H_NOTHING
};

static shoal_maker *written_header(int which)
{
    return text_header(headers[which].header, headers[which].data);
}

static shoal_maker *nul_in_header(int arg)
{
    static const char header[] = "{\"a\0\":{}}";
    (void)arg;
    return with_header(header, sizeof header - 1, 0);
}

/* ---- MF-03: much of everything ---- */

static shoal_maker *deep(int levels)
{
    char *header = calloc(1, (size_t)levels + 64);
    assert_non_null(header);
    strcpy(header, "{\"a\":{\"x\":");
    memset(header + strlen(header), '[', (size_t)levels);
    shoal_maker *maker = text_header(header, 0);
    free(header);
    return maker;
}

static shoal_maker *million_tensors(int count)
{
    char *header = malloc((size_t)count * 72 + 16), *to = header;
    assert_non_null(header);
    *to++ = '{';
    for (int i = 0; i < count; i++)
        to += sprintf(to, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i ? "," : "", i);
    *to++ = '}';
    shoal_maker *maker = with_header(header, (size_t)(to - header), 0);
    free(header);
    return maker;
}

static shoal_maker *padded_header(int bytes)
{
    shoal_maker *maker = good();
    char *spaces = malloc((size_t)bytes + 2);
    assert_non_null(spaces);
    spaces[0] = '{';
    memset(spaces + 1, ' ', (size_t)bytes);
    spaces[bytes + 1] = '\0';
    edit(maker, "model.safetensors", 8, "{", "{", spaces);
    free(spaces);
    return maker;
}

static shoal_maker *long_key(int bytes)
{
    char *header = malloc((size_t)bytes + 128);
    assert_non_null(header);
    header[0] = '{';
    header[1] = '"';
    memset(header + 2, 'k', (size_t)bytes);
    strcpy(header + 2 + bytes, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    shoal_maker *maker = text_header(header, 0);
    free(header);
    return maker;
}

/* ---- MF-05, 06: shapes and dtypes that the model cannot use ---- */

static shoal_maker *scalar_weight(int arg)
{
    (void)arg;
    return edited(good(), "model.norm.weight", "\"shape\":[64]", "\"shape\":[1,64]");
}

static shoal_maker *empty_weight(int arg)
{
    shoal_maker *maker = good();
    size_t bytes;
    char *data = read_whole(maker, "model.safetensors", &bytes);
    (void)arg;
    /* the last tensor: lm_head [80, 64] */
    edit(maker, "model.safetensors", 8, "lm_head.weight", "[80,64]", "[0,64]");
    free(data);
    data = read_whole(maker, "model.safetensors", &bytes);
    const uint64_t header = shoal_load_le64(data), all = bytes - 8 - header;
    char from[64], to[64];
    snprintf(from, sizeof from, "%llu]}", (unsigned long long)all);
    snprintf(to, sizeof to, "%llu]}", (unsigned long long)(all - 80 * 64 * 2));
    shoal_maker_file(maker, "model.safetensors", data, bytes - 80 * 64 * 2);
    edit(maker, "model.safetensors", 8, "lm_head.weight", from, to);
    free(data);
    return maker;
}

static shoal_maker *float_codes(int arg)
{
    (void)arg;
    return edited(good_gptq(), "q_proj.qweight", "I32", "F32");
}

/* ---- MF-07: cut files ---- */

static shoal_maker *cut_file(int permille)
{
    shoal_maker *maker = good();
    size_t bytes;
    char *data = read_whole(maker, "model.safetensors", &bytes);
    shoal_maker_file(maker, "model.safetensors", data, bytes * (size_t)permille / 1000);
    free(data);
    return maker;
}

static shoal_maker *cut_shard(int arg)
{
    static const char name[] = "model-00002-of-00006.safetensors";
    shoal_maker *maker = good_shards();
    size_t bytes;
    char *data = read_whole(maker, name, &bytes);
    (void)arg;
    shoal_maker_file(maker, name, data, bytes - 1);
    free(data);
    return maker;
}

static shoal_maker *good_one(int shards)
{
    return shards ? good_shards() : good();
}

/* ---- the table ---- */

static const row rows[] = {
    {"good", good_one, 0, SHOAL_OK, "", "", 0, 0},
    {"good, in shards", good_one, 1, SHOAL_OK, "", "", 0, 0},

    {"MF-01 0 bytes", short_file, 0, DATA, "0 bytes", "model.safetensors", 0, 0},
    {"MF-01 1 byte", short_file, 1, DATA, "1 bytes", "at least 8", 0, 0},
    {"MF-01 7 bytes", short_file, 7, DATA, "7 bytes", "at least 8", 0, 0},
    {"MF-01 N = 0", claimed_length, 0, DATA, "header of 0 bytes", "file of 100", 0, 0},
    {"MF-01 N > file", claimed_length, 1, DATA, "header of 101 bytes", "file of 100", 0, 0},
    {"MF-01 N = 2^63", claimed_length, 2, DATA, "9223372036854775808", "file of 100", 0, 0},
    {"MF-01 N = 2^64-1", claimed_length, 3, DATA, "18446744073709551615", "file of 100", 0, 0},
    {"MF-01 N over the cap", claimed_length, 4, DATA, "100000001", "200000000", 0, 0},
    {"MF-01 N at the cap", claimed_length, 5, DATA, "'{'", "", 0, 256},

    {"MF-02 no brace", written_header, H_NO_BRACE, DATA, "'{'", "model.safetensors", 0, 0},
    {"MF-02 UTF-8", written_header, H_UTF8, DATA, "UTF-8", "", 0, 0},
    {"MF-02 NUL", nul_in_header, 0, DATA, "NUL", "", 0, 0},
    {"MF-02 garbage behind", written_header, H_GARBAGE, DATA, "spaces", "", 0, 0},

    {"MF-03 depth", deep, 10000, DATA, "8 levels", "tensor a", 0, 0},
    {"MF-03 tensors", million_tensors, 1000001, DATA, "1000000", "", 10, 1200},
    {"MF-03 white space", padded_header, 50000000, SHOAL_OK, "", "", 5, 256},
    {"MF-03 long key", long_key, 10000000, DATA, "10000000 bytes", "1024", 2, 128},
    {"MF-03 same key twice", written_header, H_TWICE, DATA, "two tensors are called a", "", 0, 0},

    {"MF-04 begin > end", written_header, H_BACKWARDS, DATA, "begins at 4", "tensor a", 0, 0},
    {"MF-04 negative", written_header, H_NEGATIVE, DATA, "negative", "tensor a", 0, 0},
    {"MF-04 float", written_header, H_FLOAT, DATA, "whole", "tensor a", 0, 0},
    {"MF-04 2^64-1", written_header, H_HUGE, DATA, "18446744073709551615", "tensor a", 0, 0},
    {"MF-04 overlap", written_header, H_OVERLAP, DATA, "a and b overlap", "", 0, 0},
    {"MF-04 hole", written_header, H_HOLE, DATA, "between a and b", "1 bytes", 0, 0},
    {"MF-04 empty inside", written_header, H_HOLLOW, DATA, "a and b overlap", "", 0, 0},

    {"MF-05 overflow", written_header, H_OVERFLOW, DATA, "overflow", "tensor a", 0, 0},
    {"MF-05 rank 9", written_header, H_RANK, DATA, "8 dimensions", "tensor a", 0, 0},
    {"MF-05 rank of a norm", scalar_weight, 0, DATA, "model.norm.weight", "", 0, 0},
    {"MF-05 no rows", empty_weight, 0, DATA, "lm_head.weight", "[0, 64]", 0, 0},

    {"MF-06 unknown dtype", written_header, H_DTYPE, DATA, "'Q4'", "tensor a", 0, 0},
    {"MF-06 bytes", written_header, H_BYTES, DATA, "4 bytes", "needs 16", 0, 0},
    {"MF-06 half a byte", written_header, H_HALF_BYTE, DATA, "12 bits", "", 0, 0},
    {"MF-06 float codes", float_codes, 0, DATA, "q_proj", "F32", 0, 0},

    {"MF-07 half a file", cut_file, 500, DATA, "cut off", "", 0, 0},
    {"MF-07 nearly all", cut_file, 999, DATA, "cut off", "", 0, 0},
    {"MF-07 header cut", cut_file, 5, DATA, "cut off", "", 0, 0},
    {"MF-07 shard", cut_shard, 0, DATA, "model-00002-of-00006", "cut off", 0, 0},

    {"no header", written_header, H_NOTHING, DATA, "no tensors", "", 0, 0},
};

static void bad_files(void **state)
{
    (void)state;
    check_rows(rows, LENGTH(rows));
}

/* MF-07: every prefix of a small file, then random ones of a larger file. */
static void every_prefix(void **state)
{
    static const int64_t shape[] = {3, 5};
    char path[512];
    size_t bytes;
    shoal_checkpoint *c = NULL;
    (void)state;
    shoal_maker *maker = shoal_maker_begin();
    shoal_maker_tensor(maker, "first", SHOAL_BF16, 2, shape, NULL, NULL);
    shoal_maker_tensor(maker, "second", SHOAL_U8, 1, shape, NULL, NULL);
    shoal_maker_write(maker, 0);
    char *data = read_whole(maker, "model.safetensors", &bytes);
    path_of(maker, "model.safetensors", path, sizeof path);
    assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_OK);
    shoal_checkpoint_close(c);
    for (size_t cut = 0; cut < bytes; cut++) {
        shoal_maker_file(maker, "model.safetensors", data, cut);
        assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), "model.safetensors"));
    }
    free(data);
    shoal_maker_end(maker);

    maker = good();
    uint64_t seed = 7;
    data = read_whole(maker, "model.safetensors", &bytes);
    path_of(maker, "model.safetensors", path, sizeof path);
    for (int i = 0; i < 64; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        shoal_maker_file(maker, "model.safetensors", data, (size_t)(seed >> 20) % bytes);
        assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_ERR_DATA);
    }
    free(data);
    shoal_maker_end(maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
