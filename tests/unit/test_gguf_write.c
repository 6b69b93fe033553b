/* Blocks of GGUF that are written: bytes that come back from what they hold, models of a type in
 * that type again, new blocks against what was found once, what is refused, and the
 * tokenizer beside a folder made of a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "shard/gguf.h"
#include "shard/gguf_block.h"
#include "shard/gguf_quantize.h"
#include "shard/pack_write.h"
#include "tests/support/gguf_maker.h"
#include "tests/unit/convert_case.h"

/* A type, the target that writes it, and how far weights from a bell may be off: root of the mean
 * square over that of the weights, one percent more than was found. llama.cpp and gguf 0.19 are
 * 1 to 13 % above it (q4_k 2, q6_k 3, iq4_nl 2, q4_0 6, q5_0 6, q8_0 8, q4_1 13, q5_1 13). */
static const struct {
    uint32_t type;
    const char *target;
    double error;
} types[] = {
    {2, "gguf:q4_0", 0.08169},  {3, "gguf:q4_1", 0.06956},    {6, "gguf:q5_0", 0.04055},
    {7, "gguf:q5_1", 0.03348},  {8, "gguf:q8_0", 0.00496},    {10, "gguf:q2_k", 0.26208},
    {11, "gguf:q3_k", 0.14378}, {12, "gguf:q4_k", 0.07008},   {13, "gguf:q5_k", 0.03463},
    {14, "gguf:q6_k", 0.01717}, {20, "gguf:iq4_nl", 0.07566}, {23, "gguf:iq4_xs", 0.07558},
};
#define TYPES (sizeof types / sizeof types[0])

static float value_of(const shoal_gguf_block *form, const shoal_gguf_content *c, int k)
{
    const int g = k / form->group;
    const bool steps = shoal_gguf_block_has_steps(form);
    const float scale = steps ? c->scale * (float)c->steps[g] : c->scale;
    const float min = steps ? c->min * (float)c->min_steps[g] : c->min;
    return fmaf((float)(c->codes[k] - form->zero), scale, form->has_mins ? min : 0);
}

/* ---- bytes ---- */

static void test_bytes(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        gguf_maker m = {.seed = 3 + t};
        const shoal_gguf_block *form = shoal_gguf_block_find(types[t].type);
        const gguf_maker_tensor *made = gguf_tensor(&m, "blocks", types[t].type, 64, 256);
        for (size_t at = 0; at < made->bytes; at += (size_t)form->bytes) {
            shoal_gguf_content content = {0};
            uint8_t again[256];
            form->decode(made->data + at, &content);
            shoal_gguf_encode(form, &content, again);
            assert_memory_equal(again, made->data + at, (size_t)form->bytes);
        }
        gguf_forget(&m);
    }
}

/* ---- a model of a type in that type ---- */

/* Vocabulary and factors of rope go along. */
static void expect_along(const case_model *a, const case_model *b)
{
    const shoal_gguf_entry *words;
    shoal_gguf_text pre = {"", 0};
    const shoal_gguf *gguf = shoal_checkpoint_gguf(b->checkpoint);
    uint64_t at = 0;
    assert_int_equal(shoal_gguf_string(gguf, "tokenizer.ggml.pre", &pre), SHOAL_OK);
    assert_memory_equal(pre.data, "of its own", pre.bytes);
    assert_int_equal(shoal_gguf_strings(gguf, "tokenizer.ggml.tokens", &words), SHOAL_OK);
    assert_true(words && words->count == 2);
    (void)shoal_gguf_next_string(words, &at);
    assert_memory_equal(shoal_gguf_next_string(words, &at).data, "second", 6);
    assert_memory_equal(a->model->ropes[0].factors, b->model->ropes[0].factors,
                        GGUF_HEAD_DIM / 2 * sizeof(float));
}

static void test_same_type(void **state)
{
    static const char *const words[] = {"first", "second"};
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        gguf_maker m = {.seed = 20 + t};
        char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64];
        shoal_convert_result r;
        assert_non_null(mkdtemp(folder));
        snprintf(source, sizeof source, "%s/a.gguf", folder);
        snprintf(there, sizeof there, "%s/b.gguf", folder);
        gguf_model(&m, "llama", types[t].type);
        gguf_text(&m, "tokenizer.ggml.pre", "of its own");
        gguf_texts(&m, "tokenizer.ggml.tokens", words, 2);
        gguf_maker_tensor *rope = gguf_tensor(&m, "rope_freqs.weight", 0, 0, GGUF_HEAD_DIM / 2);
        for (int i = 0; i < GGUF_HEAD_DIM / 2; i++)
            shoal_store_le32(rope->data + 4 * i, shoal_f32_bits(1 + (float)i / 3));
        gguf_write(&m, source);
        const shoal_convert_request request = case_request(source, there, types[t].target);
        if (case_convert(&request, &r) != SHOAL_OK)
            fail_msg("%s: %s", types[t].target, shoal_error_text());
        assert_true(r.loss.lossless);
        const shoal_difference d = case_compare(source, there);
        assert_false(shoal_differs(&d));
        case_model a, b;
        case_open(source, &a);
        case_open(there, &b);
        expect_along(&a, &b);
        const shoal_tensor *x = shoal_checkpoint_find(a.checkpoint, "blk.0.attn_k.weight");
        const shoal_tensor *y = shoal_checkpoint_find(b.checkpoint, "blk.0.attn_k.weight");
        uint8_t *p = maker_alloc(x->bytes), *q = maker_alloc(x->bytes);
        assert_true(x->bytes == y->bytes && x->block_type == y->block_type);
        assert_int_equal(shoal_checkpoint_read(a.checkpoint, x, 0, x->bytes, p), SHOAL_OK);
        assert_int_equal(shoal_checkpoint_read(b.checkpoint, y, 0, y->bytes, q), SHOAL_OK);
        assert_memory_equal(p, q, x->bytes);
        free(p);
        free(q);
        case_close(&a);
        case_close(&b);
        case_remove(folder);
        gguf_forget(&m);
    }
}

/* ---- new blocks ---- */

/* Roughly normal, unit variance. */
static float bell(gguf_maker *m)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)gguf_random(m) / 2147483648.0;
    return (float)(sum - 6);
}

static double relative_error(const shoal_gguf_block *form, float size, float shift)
{
    gguf_maker m = {.seed = 77};
    double off = 0, all = 0;
    for (int i = 0; i < 200; i++) {
        shoal_gguf_content content;
        float x[SHOAL_GGUF_BLOCK_MAX];
        for (int k = 0; k < form->elements; k++)
            x[k] = (bell(&m) + shift) * size;
        assert_true(shoal_gguf_quantize(form, x, &content));
        for (int k = 0; k < form->elements; k++) {
            const double e = (double)x[k] - (double)value_of(form, &content, k);
            off += e * e;
            all += (double)x[k] * (double)x[k];
        }
    }
    return sqrt(off / all);
}

static void test_search(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        const shoal_gguf_block *form = shoal_gguf_block_find(types[t].type);
        const double error = relative_error(form, 0.03f, 0);
        printf("%-12s %.5f\n", types[t].target, error);
        if (!(error <= types[t].error && error > 0.97 * types[t].error))
            fail_msg("%s: %.5f, not up to %.5f", types[t].target, error, types[t].error);
        /* the same at other sizes, and no worse by much where all weights have one sign */
        assert_true(fabs(relative_error(form, 2048 * 0.03f, 0) - error) < 0.01 * error);
        assert_true(relative_error(form, 0.03f, 1) < error);
    }
}

/* Weights that a block holds exactly, with its extremes, are found again. */
static void test_exact(void **state)
{
    static const struct {
        uint32_t type;
        int zero, codes;
    } rows[] = {{2, 8, 16}, {3, 0, 16}, {6, 16, 32}, {7, 0, 32}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const shoal_gguf_block *form = shoal_gguf_block_find(rows[i].type);
        shoal_gguf_content content;
        float x[32];
        for (int k = 0; k < 32; k++)
            x[k] = 0.0625f * (float)(k % rows[i].codes - rows[i].zero) + (form->has_mins ? 3 : 0);
        assert_true(shoal_gguf_quantize(form, x, &content));
        for (int k = 0; k < 32; k++)
            assert_true(value_of(form, &content, k) == x[k]);
    }
}

static void test_odd_weights(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        const shoal_gguf_block *form = shoal_gguf_block_find(types[t].type);
        static const float odd[] = {0, 1e-42f, -1e-30f, 1e-9f, 3, -3};
        shoal_gguf_content content;
        float x[SHOAL_GGUF_BLOCK_MAX];
        for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) { /* all weights alike */
            for (int k = 0; k < form->elements; k++)
                x[k] = odd[i];
            if (!shoal_gguf_quantize(form, x, &content))
                fail_msg("%s: %g is refused", types[t].target, (double)odd[i]);
            for (int k = 0; k < form->elements; k++)
                assert_true(fabsf(value_of(form, &content, k) - odd[i]) <=
                            0.02f * fabsf(odd[i]) + 1e-6f);
        }
        x[form->elements - 1] = NAN;
        assert_false(shoal_gguf_quantize(form, x, &content));
        x[form->elements - 1] = INFINITY;
        assert_false(shoal_gguf_quantize(form, x, &content));
        for (int k = 0; k < form->elements; k++)
            x[k] = k % 2 ? 1e38f : -1e38f;
        assert_false(shoal_gguf_quantize(form, x, &content));
    }
}

/* ---- conversions ---- */

/* New blocks only where they are asked for; the same on any number of threads; the loss is told. */
static void test_convert(void **state)
{
    (void)state;
    gguf_maker m = {.seed = 5};
    char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64], other[64], *a, *b;
    size_t x, y;
    shoal_convert_result r;
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/a.gguf", folder);
    snprintf(there, sizeof there, "%s/b.gguf", folder);
    snprintf(other, sizeof other, "%s/c.gguf", folder);
    gguf_model(&m, "llama", 1);
    gguf_write(&m, source);
    shoal_convert_request request = case_request(source, there, "gguf:q4_k");
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "it is float; --allow-requantize"));
    request.target.allow_requantize = true;
    request.threads = 1;
    if (case_convert(&request, &r) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    const shoal_difference d = case_compare(source, there);
    assert_true(!r.loss.lossless && r.loss.max_abs_error == d.max_abs_error && !d.presence);
    request.destination = other;
    request.threads = 3;
    assert_int_equal(case_convert(&request, &r), SHOAL_OK);
    case_read(there, &a, &x);
    case_read(other, &b, &y);
    assert_int_equal(x, y);
    assert_memory_equal(a, b, x);
    free(a);
    free(b);
    case_remove(folder);
    gguf_forget(&m);
}

/* Codes of a table take more bits than they have: what holds 4 bits refuses them. */
static void test_table_codes(void **state)
{
    (void)state;
    static const char *const targets[] = {"gguf:q4_1", "gptq_v2", "gguf:q8_0"};
    gguf_maker m = {.seed = 6};
    char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64];
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/a.gguf", folder);
    gguf_model(&m, "qwen2", 20);
    gguf_tensor(&m, "blk.0.attn_q.bias", 0, 0, GGUF_HEADS * GGUF_HEAD_DIM);
    gguf_tensor(&m, "blk.0.attn_k.bias", 0, 0, GGUF_KV_HEADS * GGUF_HEAD_DIM);
    gguf_tensor(&m, "blk.0.attn_v.bias", 0, 0, GGUF_KV_HEADS * GGUF_HEAD_DIM);
    gguf_write(&m, source);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        shoal_convert_result r;
        snprintf(there, sizeof there, "%s/to%d.gguf", folder, (int)i);
        const shoal_convert_request request = case_request(source, there, targets[i]);
        const shoal_status st = case_convert(&request, &r);
        if (i == 0) {
            assert_int_equal(st, SHOAL_ERR_DATA);
            assert_non_null(strstr(shoal_error_text(), "this is 8 bits"));
            continue;
        }
        if (st != SHOAL_OK)
            fail_msg("%s: %s", targets[i], shoal_error_text());
        const shoal_difference d = case_compare(source, there);
        assert_true(r.loss.lossless && !d.codes && !d.values);
    }
    case_remove(folder);
    gguf_forget(&m);
}

/* A folder gets the tokenizer that the file has; where there is none, none is made up. */
static void test_tokenizer(void **state)
{
    (void)state;
    static const char *const tokens[] = {"a", "b", "ab"}, *const merges[] = {"a b"};
    for (int has = 0; has < 2; has++) {
        gguf_maker m = {.seed = 7};
        char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64], file[128], *text;
        size_t bytes;
        shoal_convert_result r;
        assert_non_null(mkdtemp(folder));
        snprintf(source, sizeof source, "%s/a.gguf", folder);
        snprintf(there, sizeof there, "%s/b", folder);
        gguf_model(&m, "llama", 8);
        gguf_text(&m, "tokenizer.ggml.model", has ? "gpt2" : "none");
        gguf_text(&m, "tokenizer.ggml.pre", "qwen2");
        gguf_text(&m, "tokenizer.chat_template", "{{ messages }}");
        gguf_texts(&m, "tokenizer.ggml.tokens", tokens, 3);
        gguf_texts(&m, "tokenizer.ggml.merges", merges, 1);
        gguf_write(&m, source);
        const shoal_convert_request request = case_request(source, there, "hf:f16");
        if (case_convert(&request, &r) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        snprintf(file, sizeof file, "%s/tokenizer.json", there);
        assert_int_equal(access(file, F_OK) == 0, has);
        snprintf(file, sizeof file, "%s/tokenizer_config.json", there);
        assert_int_equal(access(file, F_OK) == 0, has);
        if (has) {
            case_read(file, &text, &bytes);
            assert_non_null(memmem(text, bytes, "{{ messages }}", 14));
            free(text);
        }
        snprintf(file, sizeof file, "%s/config.json", there);
        case_read(file, &text, &bytes);
        assert_non_null(memmem(text, bytes, "LlamaForCausalLM", 16));
        free(text);
        case_remove(folder);
        gguf_forget(&m);
    }
}

/* ---- what a config says otherwise ---- */

/* Norms as they multiply: what is stored and what the family adds. */
static void expect_norms(const case_model *a, const case_model *b)
{
    static const shoal_role roles[] = {SHOAL_ROLE_INPUT_NORM, SHOAL_ROLE_Q_NORM,
                                       SHOAL_ROLE_AFTER_MLP_NORM, SHOAL_ROLE_FINAL_NORM};
    for (size_t r = 0; r < sizeof roles / sizeof roles[0]; r++) {
        const shoal_weight *x = shoal_manifest_weight(a->manifest, 0, roles[r]);
        const shoal_weight *y = shoal_manifest_weight(b->manifest, 0, roles[r]);
        float p[GGUF_HIDDEN], q[GGUF_HIDDEN];
        assert_int_equal(shoal_vector_read(a->manifest, x->parts[0], 0, x->n, NULL, p), SHOAL_OK);
        assert_int_equal(shoal_vector_read(b->manifest, y->parts[0], 0, y->n, NULL, q), SHOAL_OK);
        for (int64_t i = 0; i < x->n; i++)
            assert_true(p[i] + a->model->norm_weight_offset == q[i] + b->model->norm_weight_offset);
    }
}

static void expect_opened_norms(const char *source, const char *there)
{
    case_model a, b;
    case_open(source, &a);
    case_open(there, &b);
    assert_true(a.model->norm_weight_offset == 0 && b.model->norm_weight_offset == 1);
    expect_norms(&a, &b);
    case_close(&a);
    case_close(&b);
}

/* GGUF has 1 added to Gemma's norms, folders and pack files have not. */
static void test_gemma(void **state)
{
    static const char *const norms[] = {"blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight",
                                        "blk.0.post_attention_norm.weight",
                                        "blk.0.post_ffw_norm.weight"};
    (void)state;
    gguf_maker m = {.seed = 8};
    char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64], pack[64];
    shoal_convert_result r;
    shoal_pack_result packed;
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/a.gguf", folder);
    snprintf(there, sizeof there, "%s/b", folder);
    snprintf(pack, sizeof pack, "%s/c.shoal", folder);
    gguf_model(&m, "gemma3", 8);
    gguf_u32(&m, "gemma3.attention.sliding_window", 32);
    for (int i = 0; i < 4; i++)
        gguf_tensor(&m, norms[i], 0, 0, i < 2 ? GGUF_HEAD_DIM : GGUF_HIDDEN);
    for (int i = 0; i < m.count; i++) /* 1 + what a folder of bf16 would have */
        for (size_t at = 0; m.tensors[i].rank == 1 && at < m.tensors[i].bytes; at += 4)
            shoal_store_le32(
                m.tensors[i].data + at,
                shoal_f32_bits(1 + shoal_f32_from_bf16(shoal_bf16_from_f32(gguf_small(&m)))));
    gguf_write(&m, source);
    const shoal_convert_request request = case_request(source, there, "hf:f32");
    if (case_convert(&request, &r) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_true(r.loss.lossless);
    expect_opened_norms(source, there);
    const shoal_pack_request pack_request = {.source = source, .destination = pack, .threads = 1};
    if (shoal_pack_write(&pack_request, NULL, NULL, &packed) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    expect_opened_norms(source, pack);
    case_remove(folder);
    gguf_forget(&m);
}

/* Factors of rope as llama.cpp's converter makes them of llama3 scaling by 8 from 8192, in fp32. */
static void put_llama3(gguf_maker_tensor *t)
{
    for (int i = 0; i < GGUF_HEAD_DIM / 2; i++) {
        const float frequency = 1.0f / (float)pow(5e5, (double)((float)(2 * i) / GGUF_HEAD_DIM));
        const float wave = (1.0f / frequency) * (float)(2 * 3.14159265358979323846);
        const float smooth = ((1.0f / wave) * 8192.0f - 1.0f) / 3.0f;
        float factor = 1.0f / ((1.0f - smooth) / 8.0f + smooth);
        if (wave < 2048.0f)
            factor = 1;
        else if (wave > 8192.0f)
            factor = 8;
        shoal_store_le32(t->data + 4 * i, shoal_f32_bits(factor));
    }
}

/* Such factors become the scaling that they were made of; others have no form in a config. */
static void test_llama3(void **state)
{
    (void)state;
    gguf_maker m = {.seed = 9};
    char folder[] = "/tmp/shoal-gguf-XXXXXX", source[64], there[64];
    shoal_convert_result r;
    case_model b;
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/a.gguf", folder);
    snprintf(there, sizeof there, "%s/b", folder);
    gguf_model(&m, "llama", 8);
    gguf_f32(&m, "llama.rope.freq_base", 5e5f);
    gguf_maker_tensor *t = gguf_tensor(&m, "rope_freqs.weight", 0, 0, GGUF_HEAD_DIM / 2);
    put_llama3(t);
    gguf_write(&m, source);
    const shoal_convert_request request = case_request(source, there, "hf:f16");
    if (case_convert(&request, &r) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    case_open(there, &b);
    const shoal_rope *rope = &b.model->ropes[0];
    assert_int_equal(rope->kind, SHOAL_ROPE_LLAMA3);
    assert_true(rope->factor == 8 && rope->low_freq_factor == 1 && rope->high_freq_factor == 4);
    assert_int_equal(rope->original_context, 8192);
    case_close(&b);
    case_remove(there);
    shoal_store_le32(t->data + 4 * 3, shoal_f32_bits(1.5f));
    gguf_write(&m, source);
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "rope_freqs.weight"));
    case_remove(folder);
    gguf_forget(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_same_type),
        cmocka_unit_test(test_search),      cmocka_unit_test(test_exact),
        cmocka_unit_test(test_convert),     cmocka_unit_test(test_odd_weights),
        cmocka_unit_test(test_table_codes), cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_gemma),       cmocka_unit_test(test_llama3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
