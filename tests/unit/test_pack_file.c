/* Pack files of made-up models: the same weights as the source for every kind of linear, bytes read
 * as planned for every number of ranks, and a flipped bit anywhere in the file is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "proto/digest.h"
#include "shard/load.h"
#include "shard/pack_file.h"
#include "shard/pack_format.h"
#include "shard/pack_write.h"
#include "shard/slices.h"
#include "tests/unit/convert_case.h"

static void pack(const maker *m, const char *quantize, char out[320])
{
    shoal_pack_result r;
    snprintf(out, 320, "%s.shoal", m->folder);
    const shoal_pack_request request = {m->folder, out, quantize, NULL, 3};
    if (shoal_pack_write(&request, NULL, NULL, &r) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    struct stat info;
    assert_int_equal(stat(out, &info), 0);
    assert_int_equal(info.st_size, (off_t)r.bytes);
    assert_int_equal(r.consumed, m->count);
}

static void test_same_weights(void **state)
{
    (void)state;
    static const case_source sources[] = {
        {4, 32, true, false, SHOAL_F16, {"q_proj o_proj down_proj", false}},
        {4, 64, false, false, SHOAL_BF16, {"", false}},
        {4, -1, true, false, SHOAL_F16, {"k_proj", true}},
        {4, 32, true, true, SHOAL_F16, {"", false}},
        {8, 128, true, false, SHOAL_F16, {"", false}},
        {8, 64, false, false, SHOAL_F16, {"", false}},
        {2, 32, false, false, SHOAL_F16, {"", false}},
    };
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        maker m = {.seed = 40 + i};
        char path[320];
        case_make(&m, &sources[i]);
        pack(&m, NULL, path);
        const shoal_difference d = case_compare(m.folder, path);
        if (shoal_differs(&d))
            fail_msg("source %zu: %llu values differ", i, (unsigned long long)d.values);
        unlink(path);
        maker_forget(&m);
    }
}

/* Every rank's slices of one linear: what is read is what was predicted, and together all of it. */
static void read_slices(const case_model *m, const shoal_slicing *slicing, int rank)
{
    shoal_rect rect;
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++) {
        const shoal_weight *w = shoal_manifest_weight(m->manifest, 0, role);
        shoal_arena *arena;
        shoal_canonical block;
        if (!shoal_slice_rect(slicing, rank, 0, role, &rect))
            continue;
        const uint64_t before = shoal_checkpoint_bytes_read(m->checkpoint);
        assert_int_equal(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena), SHOAL_OK);
        if (shoal_weight_read(m->manifest, w, &rect, arena, &block) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        assert_int_equal(shoal_checkpoint_bytes_read(m->checkpoint) - before,
                         shoal_slice_read_bytes_of(slicing, rank, w));
        shoal_arena_destroy(arena);
    }
}

static void test_slices(void **state)
{
    (void)state;
    maker m = {.seed = 50};
    char path[320];
    case_model model;
    shoal_plan_shape shape;
    shoal_plan plan;
    case_make(&m, &(case_source){4, 32, true, false, SHOAL_F16, {"", false}});
    pack(&m, NULL, path);
    case_open(path, &model);
    assert_int_equal(shoal_slices_shape(model.manifest, &shape), SHOAL_OK);
    for (int ranks = 1; ranks <= 4; ranks++) {
        assert_int_equal(shoal_plan_make(&shape, ranks, NULL, &plan), SHOAL_OK);
        const shoal_slicing slicing = {model.manifest, &plan, SHOAL_ACTIVATIONS_AUTO};
        for (int rank = 0; rank < ranks; rank++)
            read_slices(&model, &slicing, rank);
    }
    case_close(&model);
    unlink(path);
    maker_forget(&m);
}

/* ---- damage ---- */

/* Open and read every weight, as all ranks together do. */
static shoal_status read_everything(const char *path)
{
    case_model m = {0};
    shoal_difference d;
    shoal_status st = shoal_model_open(path, &m.model);
    if (st == SHOAL_OK)
        st = shoal_checkpoint_open(path, &m.checkpoint);
    if (st == SHOAL_OK)
        st = shoal_manifest_create(m.model, m.checkpoint, NULL, &m.manifest);
    for (size_t i = 0; st == SHOAL_OK && i < shoal_manifest_count(m.manifest); i++) {
        const shoal_weight *w = shoal_manifest_at(m.manifest, i);
        st = shoal_weight_compare(m.manifest, w, m.manifest, w, &d);
    }
    if (m.manifest)
        shoal_manifest_destroy(m.manifest);
    if (m.checkpoint)
        shoal_checkpoint_close(m.checkpoint);
    if (m.model)
        shoal_model_close(m.model);
    return st;
}

static void flip(FILE *f, long at, int bit)
{
    fseek(f, at, SEEK_SET);
    const int byte = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(byte ^ 1 << bit, f);
    fflush(f);
}

static void test_every_flip_is_found(void **state)
{
    (void)state;
    maker m = {.seed = 60};
    char path[320];
    case_make(&m, &(case_source){4, 32, true, true, SHOAL_F16, {"q_proj", false}});
    pack(&m, NULL, path);
    assert_int_equal(read_everything(path), SHOAL_OK);
    FILE *f = fopen(path, "r+b");
    fseek(f, 0, SEEK_END);
    const long bytes = ftell(f);
    for (int i = 0; i < 300; i++) {
        /* the preamble byte by byte, the rest at random, the last byte too */
        const long at = i < 64 ? i : i == 64 ? bytes - 1 : (long)maker_below(&m, bytes);
        const int bit = (int)maker_below(&m, 8);
        flip(f, at, bit);
        const shoal_status st = read_everything(path);
        if (st != SHOAL_ERR_DATA)
            fail_msg("bit %d of byte %ld of %ld: status %d", bit, at, bytes, (int)st);
        if (at >= 64 && !strstr(shoal_error_text(), "checksum"))
            fail_msg("byte %ld: %s", at, shoal_error_text());
        flip(f, at, bit);
    }
    assert_int_equal(ftruncate(fileno(f), bytes - 1), 0);
    assert_int_equal(read_everything(path), SHOAL_ERR_DATA);
    fclose(f);
    assert_int_equal(read_everything(path), SHOAL_ERR_DATA);
    unlink(path);
    maker_forget(&m);
}

/* ---- files of others ---- */

typedef struct {
    char path[320];
    uint8_t *data;
    size_t bytes;
} packed;

static void load_packed(packed *f)
{
    FILE *file = fopen(f->path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    f->bytes = (size_t)ftell(file);
    rewind(file);
    f->data = maker_alloc(f->bytes + 1);
    assert_int_equal(fread(f->data, 1, f->bytes, file), f->bytes);
    fclose(file);
}

/* Write it with digests that are right again. */
static void store_packed(packed *f)
{
    static const char key[] = "\"digests\":", sum[] = "\"digests_xxh3\":\"";
    char hex[2 * SHOAL_XXH128_BYTES + 1];
    uint8_t digest[SHOAL_XXH128_BYTES];
    const uint64_t header = shoal_load_le64(f->data + 16);
    uint8_t *text = f->data + SHOAL_PACK_PREAMBLE, *end = text + header;
    const char *count = memmem(text, header, key, sizeof key - 1);
    char *to = memmem(text, header, sum, sizeof sum - 1);
    assert_non_null(count);
    assert_non_null(to);
    shoal_xxh128(end, strtoull(count + sizeof key - 1, NULL, 10) * SHOAL_XXH128_BYTES, digest);
    shoal_hex(digest, sizeof digest, hex);
    memcpy(to + sizeof sum - 1, hex, sizeof hex - 1);
    shoal_xxh128(text, header, f->data + 24);
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(f->data, 1, f->bytes, file), f->bytes);
    fclose(file);
}

static void refused_as(packed *f, const char *word)
{
    store_packed(f);
    assert_int_equal(read_everything(f->path), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), word))
        fail_msg("no '%s' in: %s", word, shoal_error_text());
}

/* Another version, byte order or layout is named, whatever its digests say. */
static void test_other_packs(void **state)
{
    (void)state;
    maker m = {.seed = 70};
    packed f;
    case_make(&m, &(case_source){4, 64, true, false, SHOAL_F16, {"", false}});
    pack(&m, NULL, f.path);
    load_packed(&f);
    f.data[8] = 2;
    refused_as(&f, "version 2; version 1 is read");
    f.data[8] = 1;
    shoal_store_le32(f.data + 12, 0x04030201);
    refused_as(&f, "byte order");
    shoal_store_le32(f.data + 12, SHOAL_PACK_ORDER);
    char *layout = memmem(f.data, f.bytes, SHOAL_PACK_LAYOUT, sizeof SHOAL_PACK_LAYOUT - 1);
    assert_non_null(layout);
    layout[sizeof SHOAL_PACK_LAYOUT - 2] = '\x01';
    refused_as(&f, "control");
    layout[sizeof SHOAL_PACK_LAYOUT - 2] = '9';
    refused_as(&f, "'shoal-pack/9'");
    layout[sizeof SHOAL_PACK_LAYOUT - 2] = '1';
    store_packed(&f);
    assert_int_equal(read_everything(f.path), SHOAL_OK);
    unlink(f.path);
    free(f.data);
    maker_forget(&m);
}

/* The whole of q_proj as a kernel of this level holds it. */
static shoal_status load_q_proj(const char *path, shoal_cpu_level level)
{
    case_model m;
    shoal_arena *arena;
    shoal_linear linear;
    case_open(path, &m);
    const shoal_weight *w = shoal_manifest_weight(m.manifest, 0, SHOAL_ROLE_Q);
    const shoal_rect whole = {.n_end = w->n, .k_end = w->k};
    const shoal_linear_spec spec = {.n = w->n,
                                    .k = w->k,
                                    .kind = w->kind,
                                    .dtype = w->dtype,
                                    .group = w->group,
                                    .has_zeros = w->has_zeros,
                                    .zero_const = w->zero_const,
                                    .act = SHOAL_ACT_INT8,
                                    .act_group = 32};
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    const shoal_status st =
        shoal_load_linear(m.manifest, w, &whole, &spec, level, arena, NULL, &linear);
    shoal_arena_destroy(arena);
    case_close(&m);
    return st;
}

static void first_run(packed *f, bool symmetric, shoal_pack_run *run, uint8_t **data,
                      uint8_t **digest)
{
    maker m = {.seed = 71};
    shoal_checkpoint *checkpoint;
    case_make(&m, &(case_source){4, 32, symmetric, false, SHOAL_F16, {"", false}});
    pack(&m, NULL, f->path);
    maker_forget(&m);
    load_packed(f);
    assert_int_equal(shoal_checkpoint_open(f->path, &checkpoint), SHOAL_OK);
    const shoal_tensor *t =
        shoal_checkpoint_find(checkpoint, "model.layers.0.self_attn.q_proj.pack");
    assert_non_null(t);
    *run = shoal_pack_run_at(t->packed, 0);
    *data = f->data + t->offset;
    *digest = memmem(f->data, f->bytes, t->digests, SHOAL_XXH128_BYTES);
    assert_non_null(*digest);
    shoal_checkpoint_close(checkpoint);
}

/* Read and loaded on every level, the first run of q_proj is refused, though its digest is right.
 */
static void refused_on_all_levels(packed *f, const shoal_pack_run *run, const uint8_t *data,
                                  uint8_t *digest, const char *word)
{
    shoal_xxh128(data, run->bytes, digest);
    refused_as(f, word);
    for (shoal_cpu_level level = SHOAL_CPU_REF; level <= shoal_cpu_best(); level++) {
        assert_int_equal(load_q_proj(f->path, level), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), "q_proj.pack"));
    }
}

static void test_no_number_in_a_run(void **state)
{
    packed f;
    shoal_pack_run run;
    uint8_t *data, *digest;
    (void)state;
    first_run(&f, true, &run, &data, &digest);
    assert_int_equal(load_q_proj(f.path, shoal_cpu_best()), SHOAL_OK);
    shoal_store_float(data + run.scales, SHOAL_F16, 0, NAN);
    refused_on_all_levels(&f, &run, data, digest,
                          "q_proj.pack: the scale of group 0, output 0 is no number");
    unlink(f.path);
    free(f.data);
}

/* Zero points beyond what 4 bits and the forms of files allow, also where their low byte would do.
 */
static void test_no_zero_point_in_a_run(void **state)
{
    static const uint16_t wrong[] = {17, 255, 256 + 8, 0xffff};
    packed f;
    shoal_pack_run run;
    uint8_t *data, *digest;
    (void)state;
    first_run(&f, false, &run, &data, &digest);
    assert_int_equal(load_q_proj(f.path, shoal_cpu_best()), SHOAL_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char word[96];
        snprintf(word, sizeof word, "group 0, output 1: the zero point %d is outside 0..16",
                 wrong[i]);
        data[run.zeros + 2] = (uint8_t)wrong[i];
        data[run.zeros + 3] = (uint8_t)(wrong[i] >> 8);
        refused_on_all_levels(&f, &run, data, digest, word);
    }
    unlink(f.path);
    free(f.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_weights),        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_every_flip_is_found), cmocka_unit_test(test_other_packs),
        cmocka_unit_test(test_no_number_in_a_run),  cmocka_unit_test(test_no_zero_point_in_a_run),
    };
    return cmocka_run_group_tests_name("pack_file", tests, NULL, NULL);
}
