/* Files of torch.save: what comes out of them is what was put in, whatever the storages, offsets
 * and strides; which files of a folder are taken; tensor subclasses as their parts. Damaged and
 * hostile files are in tests/bad_input/test_bad_torch.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "tests/support/model_maker.h"
#include "tests/support/torch_maker.h"

static uint8_t data_of[8192];

static void fill_data(void)
{
    for (size_t i = 0; i < sizeof data_of; i++)
        data_of[i] = (uint8_t)(i * 131 >> 3 ^ i);
}

static shoal_checkpoint *must_open(const char *path)
{
    shoal_checkpoint *c = NULL;
    if (shoal_checkpoint_open(path, &c) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return c;
}

static const shoal_tensor *must_find(const shoal_checkpoint *c, const char *name)
{
    const shoal_tensor *t = shoal_checkpoint_find(c, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
}

static void must_hold(const shoal_checkpoint *c, const char *name, const void *expected,
                      size_t bytes)
{
    uint8_t got[8192];
    const shoal_tensor *t = must_find(c, name);
    assert_int_equal(t->bytes, bytes);
    const uint64_t before = shoal_checkpoint_bytes_read(c);
    assert_int_equal(shoal_checkpoint_read(c, t, 0, bytes, got), SHOAL_OK);
    assert_memory_equal(got, expected, bytes);
    assert_int_equal(shoal_checkpoint_bytes_read(c) - before, bytes);
}

static shoal_maker *folder_with(const char *name, torch_maker *m)
{
    shoal_maker *maker = shoal_maker_begin();
    shoal_maker_file(maker, name, m->file.at, m->file.size);
    return maker;
}

static void values(void **state)
{
    static const shoal_dtype dtypes[] = {SHOAL_F32, SHOAL_F16, SHOAL_BF16, SHOAL_I8,
                                         SHOAL_U8,  SHOAL_I32, SHOAL_I64};
    torch_maker m;
    char name[32];
    (void)state;
    torch_begin(&m);
    for (int i = 0; i < 7; i++) {
        const torch_tensor t = torch_plain(&m, dtypes[i], 2, (int64_t[]){5, 7}, data_of + i);
        snprintf(name, sizeof name, "layer.%d.weight", i);
        torch_add(&m, name, &t);
    }
    torch_tensor scalar = torch_plain(&m, SHOAL_F32, 0, NULL, data_of + 100);
    torch_add(&m, "scalar", &scalar);
    torch_end(&m);
    shoal_maker *maker = folder_with("pytorch_model.bin", &m);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 8);
    assert_int_equal(shoal_checkpoint_bytes(c), m.file.size);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        assert_int_equal(must_find(c, name)->dtype, dtypes[i]);
        assert_int_equal(must_find(c, name)->rank, 2);
        assert_int_equal(must_find(c, name)->shape[1], 7);
        must_hold(c, name, data_of + i, 35 * shoal_dtype_bytes(dtypes[i]));
    }
    assert_int_equal(must_find(c, "scalar")->rank, 0);
    must_hold(c, "scalar", data_of + 100, 4);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
    torch_free(&m);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), 0);
}

/* One storage of 10 x 8, seen in several ways. */
static void views(void **state)
{
    torch_maker m;
    uint8_t slice[6 * 4 * 2], turned[80 * 2];
    (void)state;
    torch_begin(&m);
    torch_tensor t = torch_plain(&m, SHOAL_BF16, 2, (int64_t[]){10, 8}, data_of);
    torch_add(&m, "whole", &t);
    torch_tensor rows = t;
    rows.offset = 16;
    rows.sizes[0] = 3;
    torch_add(&m, "rows", &rows);
    torch_tensor part = t;
    part.offset = 2 * 8 + 3;
    part.sizes[0] = 6;
    part.sizes[1] = 4;
    torch_add(&m, "part", &part);
    torch_tensor across = t;
    across.sizes[0] = 8;
    across.sizes[1] = 10;
    across.strides[0] = 1;
    across.strides[1] = 8;
    torch_add(&m, "across", &across);
    torch_end(&m);
    for (int i = 0; i < 6; i++)
        memcpy(slice + i * 8, data_of + ((2 + i) * 8 + 3) * 2, 8);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 10; j++)
            memcpy(turned + (i * 10 + j) * 2, data_of + (j * 8 + i) * 2, 2);
    shoal_maker *maker = folder_with("model.pt", &m);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    must_hold(c, "whole", data_of, 160);
    must_hold(c, "rows", data_of + 32, 48);
    must_hold(c, "part", slice, sizeof slice);
    must_hold(c, "across", turned, sizeof turned);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
    torch_free(&m);
}

/* Opening looks at nothing but the gaps: what is sent to ranks that cannot see the file. */
static void gaps(void **state)
{
    torch_maker m;
    (void)state;
    torch_begin(&m);
    torch_tensor a = torch_plain(&m, SHOAL_F32, 2, (int64_t[]){16, 8}, data_of);
    torch_tensor b = torch_plain(&m, SHOAL_F32, 1, (int64_t[]){100}, data_of + 1000);
    b.sizes[0] = 50;
    b.strides[0] = 2;
    torch_add(&m, "a", &a);
    torch_add(&m, "b", &b);
    torch_end(&m);
    shoal_maker *maker = folder_with("pytorch_model.bin", &m);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    shoal_byte_range *ranges;
    size_t count, kept = 0;
    assert_int_equal(shoal_checkpoint_gaps(c, 0, &ranges, &count), SHOAL_OK);
    uint8_t *skeleton = calloc(1, m.file.size);
    assert_non_null(skeleton);
    for (size_t i = 0; i < count; i++) {
        memcpy(skeleton + ranges[i].begin, m.file.at + ranges[i].begin,
               ranges[i].end - ranges[i].begin);
        kept += ranges[i].end - ranges[i].begin;
    }
    assert_int_equal(kept, m.file.size - 16 * 8 * 4 - 99 * 4);
    shoal_free(ranges);
    shoal_checkpoint_close(c);
    shoal_maker_file(maker, "pytorch_model.bin", skeleton, m.file.size);
    c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 2);
    shoal_checkpoint_close(c);
    free(skeleton);
    shoal_maker_end(maker);
    torch_free(&m);
}

static void add_plain(torch_maker *m, const char *name, int64_t count, size_t from)
{
    const torch_tensor t = torch_plain(m, SHOAL_F32, 1, &count, data_of + from);
    torch_add(m, name, &t);
}

static void by_index(void **state)
{
    torch_maker m;
    shoal_maker *maker = shoal_maker_begin();
    (void)state;
    for (int i = 0; i < 2; i++) {
        torch_begin(&m);
        add_plain(&m, i ? "z" : "a", 6, i ? 64 : 0);
        add_plain(&m, i ? "not.mapped" : "b", 2, 128);
        torch_end(&m);
        shoal_maker_file(
            maker, i ? "pytorch_model-00002-of-00002.bin" : "pytorch_model-00001-of-00002.bin",
            m.file.at, m.file.size);
        torch_free(&m);
    }
    shoal_maker_text(maker, "pytorch_model.bin.index.json",
                     "{\"metadata\":{\"total_size\":99},\"weight_map\":{"
                     "\"a\":\"pytorch_model-00001-of-00002.bin\","
                     "\"b\":\"pytorch_model-00001-of-00002.bin\","
                     "\"z\":\"pytorch_model-00002-of-00002.bin\"}}");
    shoal_maker_text(maker, "training_args.bin", "not a model");
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 3);
    must_hold(c, "a", data_of, 24);
    must_hold(c, "z", data_of + 64, 24);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

/* Safetensors are preferred; among several PyTorch files nobody guesses. */
static void which_file(void **state)
{
    torch_maker m;
    shoal_checkpoint *c = NULL;
    (void)state;
    torch_begin(&m);
    add_plain(&m, "a", 6, 0);
    torch_end(&m);
    shoal_maker *maker = folder_with("consolidated.00.pth", &m);
    shoal_maker_file(maker, "optimizer.pt", "x", 1);
    shoal_checkpoint_close(must_open(shoal_maker_path(maker)));
    shoal_maker_file(maker, "other.pt", m.file.at, m.file.size);
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "2 PyTorch files"));
    shoal_maker_file(maker, "pytorch_model.bin", m.file.at, m.file.size);
    c = must_open(shoal_maker_path(maker));
    assert_non_null(strstr(shoal_checkpoint_file(c, 0), "pytorch_model.bin"));
    shoal_checkpoint_close(c);
    shoal_maker_tensor(maker, "s", SHOAL_U8, 1, (int64_t[]){3}, NULL, NULL);
    shoal_maker_write(maker, 0);
    c = must_open(shoal_maker_path(maker));
    assert_non_null(shoal_checkpoint_find(c, "s"));
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
    torch_free(&m);
}

/* An int8 weight as torchao 0.9 wraps it: three objects, two tensors. */
static void op_wrapped(torch_maker *m)
{
    const torch_tensor codes = torch_plain(m, SHOAL_I8, 2, (int64_t[]){4, 6}, data_of);
    const torch_tensor scale = torch_plain(m, SHOAL_F32, 1, (int64_t[]){4}, data_of + 512);
    torch_op_class(m,
                   "ctorchao.quantization.linear_activation_quantized_tensor\n"
                   "LinearActivationQuantizedTensor\n",
                   4, 6);
    torch_op_text(m, "original_weight_tensor");
    torch_op_class(m, "ctorchao.dtypes.affine_quantized_tensor\nAffineQuantizedTensor\n", 4, 6);
    torch_op_text(m, "tensor_impl");
    torch_op_class(m, "ctorchao.dtypes.uintx.plain_layout\nPlainAQTTensorImpl\n", 4, 6);
    torch_op_text(m, "int_data");
    torch_op_tensor(m, &codes);
    torch_op_text(m, "scale");
    torch_op_tensor(m, &scale);
    torch_op_text(m, "zero_point");
    torch_ops(m, "NutR");
    torch_op_text(m, "block_size");
    torch_op_numbers(m, (int64_t[]){1, 6}, 2);
    torch_op_text(m, "zero_point_domain");
    torch_ops(m, "ctorchao.quantization.quant_primitives\nZeroPointDomain\nK\x03\x85RutR");
    torch_op_text(m, "input_quant_func");
    torch_ops(m, "ctorchao.quantization.quant_api\n_int8_symm_per_token_quant\nutR");
}

static void subclass(void **state)
{
    torch_maker m;
    (void)state;
    torch_begin(&m);
    torch_op_text(&m, "model.q_proj.weight");
    op_wrapped(&m);
    add_plain(&m, "model.norm.weight", 6, 0);
    torch_end(&m);
    shoal_maker *maker = folder_with("x.bin", &m);
    shoal_maker_text(maker, "pytorch_model.bin.index.json",
                     "{\"weight_map\":{\"model.q_proj.weight\":\"x.bin\","
                     "\"model.norm.weight\":\"x.bin\"}}");
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 3);
    must_hold(c, "model.q_proj._weight_int_data", data_of, 24);
    must_hold(c, "model.q_proj._weight_scale", data_of + 512, 16);
    assert_null(must_find(c, "model.norm.weight")->subclass);
    const shoal_tensor_subclass *s = must_find(c, "model.q_proj._weight_scale")->subclass;
    assert_non_null(s);
    assert_ptr_equal(must_find(c, "model.q_proj._weight_int_data")->subclass, s);
    assert_string_equal(s->name, "model.q_proj.weight");
    assert_string_equal(s->type, "PlainAQTTensorImpl");
    assert_int_equal(s->shape[0], 4);
    assert_int_equal(s->shape[1], 6);
    assert_int_equal(s->block[1], 6);
    assert_int_equal(s->domain, SHOAL_ZERO_DOMAIN_NONE);
    assert_true(s->per_token);
    assert_false(s->has_range);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
    torch_free(&m);
}

/* Two items of one name: Python would keep the last, we keep neither. */
static void same_name(void **state)
{
    torch_maker m;
    shoal_checkpoint *c = NULL;
    (void)state;
    torch_begin(&m);
    add_plain(&m, "a", 6, 0);
    add_plain(&m, "a", 6, 64);
    torch_end(&m);
    shoal_maker *maker = folder_with("pytorch_model.bin", &m);
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "two tensors are called a"));
    shoal_maker_end(maker);
    torch_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),    cmocka_unit_test(views),      cmocka_unit_test(gaps),
        cmocka_unit_test(by_index),  cmocka_unit_test(which_file), cmocka_unit_test(subclass),
        cmocka_unit_test(same_name),
    };
    fill_data();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
