/* Pack files of made-up models: the same weights as the source for every kind of linear, bytes read
 * as planned for every number of ranks, and a flipped bit anywhere in the file is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/pack_file.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_weights),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_every_flip_is_found),
    };
    return cmocka_run_group_tests_name("pack_file", tests, NULL, NULL);
}
