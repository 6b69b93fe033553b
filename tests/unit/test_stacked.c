/* Linears that share one module: which of its rows belong to whom, whether they follow each other
 * (Phi-3, Baichuan) or are dealt by kv head (InternLM2); read in rectangles, loaded as panels with
 * their bias, and written back as the module was. Rows are found here by a second, simpler rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "shard/dequant.h"
#include "shard/dialect.h"
#include "shard/load.h"
#include "shard/manifest.h"
#include "tests/unit/checkpoint_maker.h"

/* Heads of 20 make runs end inside packed words, panels and groups of eight columns. */
enum { HIDDEN = 64, HEADS = 6, KV = 2, HEAD = 20, FFN = 96, VOCAB = 80, GROUP = 32 };
enum { Q_ROWS = HEADS * HEAD, KV_ROWS = KV * HEAD, QKV_ROWS = Q_ROWS + 2 * KV_ROWS };

typedef enum { DENSE, GPTQ, AWQ } stored_form;

typedef struct {
    const char *type, *qkv, *o, *gate, *up, *down, *norms[2], *outside[3];
} family;

static const family families[] = {
    {"phi3",
     "self_attn.qkv_proj",
     "self_attn.o_proj",
     "mlp.gate_up_proj",
     NULL,
     "mlp.down_proj",
     {"input_layernorm", "post_attention_layernorm"},
     {"model.embed_tokens", "model.norm", "lm_head"}},
    {"baichuan",
     "self_attn.W_pack",
     "self_attn.o_proj",
     "mlp.gate_proj",
     "mlp.up_proj",
     "mlp.down_proj",
     {"input_layernorm", "post_attention_layernorm"},
     {"model.embed_tokens", "model.norm", "lm_head"}},
    {"internlm2",
     "attention.wqkv",
     "attention.wo",
     "feed_forward.w1",
     "feed_forward.w3",
     "feed_forward.w2",
     {"attention_norm", "ffn_norm"},
     {"model.tok_embeddings", "model.norm", "output"}},
};

typedef struct {
    maker m;
    const family *family;
    stored_form form;
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} made;

/* ---- a model of one layer ---- */

static void add_words(maker *m, const char *module, const char *part, int64_t rows, int64_t columns)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", module, part);
    uint32_t *words = maker_add(m, name, SHOAL_I32, rows, columns);
    for (int64_t i = 0; i < rows * columns; i++)
        words[i] = (uint32_t)maker_random(m);
}

static void add_linear(made *t, const char *part, int64_t n, int64_t k, bool bias)
{
    char module[96], name[128];
    snprintf(module, sizeof module, "model.layers.0.%s", part);
    if (t->form == DENSE) {
        snprintf(name, sizeof name, "%s.weight", module);
        maker_add_random(&t->m, name, SHOAL_BF16, n, k);
    } else {
        add_words(&t->m, module, "qweight", t->form == GPTQ ? k / 8 : k,
                  t->form == GPTQ ? n : n / 8);
        add_words(&t->m, module, "qzeros", shoal_ceil_div(k, GROUP), n / 8);
        snprintf(name, sizeof name, "%s.scales", module);
        maker_add_random(&t->m, name, SHOAL_F16, shoal_ceil_div(k, GROUP), n);
    }
    snprintf(name, sizeof name, "%s.bias", module);
    if (bias)
        maker_add_random(&t->m, name, SHOAL_BF16, n, 0);
}

static void add_dense(made *t, const char *prefix, const char *part, int64_t rows, int64_t columns)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s.weight", prefix, part);
    maker_add_random(&t->m, name, SHOAL_BF16, rows, columns);
}

static void open_made(made *t)
{
    static const char *const configs[] = {
        "",
        ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,"
        "\"sym\":false,\"desc_act\":false,\"checkpoint_format\":\"gptq_v2\"}",
        ",\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,"
        "\"zero_point\":true,\"version\":\"gemm\"}"};
    char config[1024];
    snprintf(config, sizeof config,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"num_attention_heads\":%d,"
             "\"num_key_value_heads\":%d,\"head_dim\":%d,\"intermediate_size\":%d,"
             "\"vocab_size\":%d,\"num_hidden_layers\":1,\"max_position_embeddings\":64,"
             "\"tie_word_embeddings\":false%s}",
             t->family->type, HIDDEN, HEADS, KV, HEAD, FFN, VOCAB, configs[t->form]);
    const char *folder = maker_write(&t->m, config);
    if (shoal_model_open(folder, &t->model) != SHOAL_OK ||
        shoal_checkpoint_open(folder, &t->checkpoint) != SHOAL_OK ||
        shoal_manifest_create(t->model, t->checkpoint, NULL, &t->manifest) != SHOAL_OK)
        fail_msg("%s: %s", t->family->type, shoal_error_text());
}

static void make(const family *f, stored_form form, made *t)
{
    static const char layer[] = "model.layers.0.";
    *t = (made){.m = {.seed = 7 + (uint64_t)form}, .family = f, .form = form};
    add_linear(t, f->qkv, QKV_ROWS, HIDDEN, true);
    add_linear(t, f->o, HIDDEN, Q_ROWS, true);
    add_linear(t, f->gate, f->up ? FFN : 2 * FFN, HIDDEN, false);
    if (f->up)
        add_linear(t, f->up, FFN, HIDDEN, false);
    add_linear(t, f->down, HIDDEN, FFN, false);
    add_dense(t, layer, f->norms[0], HIDDEN, 0);
    add_dense(t, layer, f->norms[1], HIDDEN, 0);
    add_dense(t, "", f->outside[0], VOCAB, HIDDEN);
    add_dense(t, "", f->outside[1], HIDDEN, 0);
    add_dense(t, "", f->outside[2], VOCAB, HIDDEN);
    open_made(t);
}

static void unmake(made *t)
{
    shoal_manifest_destroy(t->manifest);
    shoal_checkpoint_close(t->checkpoint);
    shoal_model_close(t->model);
    maker_forget(&t->m);
}

/* ---- whose row it is ---- */

/* The row of its module that output n of a role lies in. */
static int64_t row_of(const family *f, shoal_role role, int64_t n)
{
    const int64_t head = n / HEAD, in_head = n % HEAD, share = HEADS / KV;
    if (role == SHOAL_ROLE_UP && !f->up)
        return FFN + n;
    if (role > SHOAL_ROLE_V)
        return n;
    if (strcmp(f->type, "internlm2") != 0)
        return n + (role == SHOAL_ROLE_Q ? 0 : role == SHOAL_ROLE_K ? Q_ROWS : Q_ROWS + KV_ROWS);
    const int64_t kv = role == SHOAL_ROLE_Q ? head / share : head;
    const int64_t slot = role == SHOAL_ROLE_Q   ? head % share
                         : role == SHOAL_ROLE_K ? share
                                                : share + 1;
    return (kv * (share + 2) + slot) * HEAD + in_head;
}

/* The module as one linear of `rows` outputs, dequantized: [rows][k]. Freed by the caller. */
static float *whole_module(const made *t, const shoal_weight *w, int64_t rows)
{
    shoal_weight all = *w;
    shoal_arena *arena;
    shoal_canonical block;
    float *values = maker_alloc((size_t)(rows * w->k) * sizeof *values);
    all.n = rows;
    all.row_offset = all.run = all.period = 0;
    const shoal_rect rect = {.n_end = rows, .k_end = w->k};
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    assert_int_equal(shoal_weight_read(t->manifest, &all, &rect, arena, &block), SHOAL_OK);
    shoal_dequant_block(&block, w->group, NULL, values);
    shoal_arena_destroy(arena);
    return values;
}

static int64_t rows_of(const family *f, shoal_role role)
{
    switch (role) {
    case SHOAL_ROLE_O:
    case SHOAL_ROLE_DOWN: return HIDDEN;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP: return f->up ? FFN : 2 * FFN;
    default: return QKV_ROWS;
    }
}

/* ---- reading and loading ---- */

static void check_read(made *t, const shoal_weight *w, const shoal_rect *rect, const float *want)
{
    shoal_arena *arena;
    shoal_canonical block;
    const uint64_t before = shoal_checkpoint_bytes_read(t->checkpoint);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
    if (shoal_weight_read(t->manifest, w, rect, arena, &block) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(t->checkpoint) - before,
                     shoal_weight_read_bytes(w, rect));
    float *got = maker_alloc((size_t)(block.n * w->k) * sizeof *got);
    shoal_dequant_block(&block, w->group, NULL, got);
    for (int64_t n = 0; n < block.n; n++) {
        const int64_t own = rect->columns ? rect->columns[n] : rect->n_begin + n;
        assert_memory_equal(got + n * w->k, want + row_of(t->family, w->role, own) * w->k,
                            (size_t)w->k * sizeof *got);
    }
    free(got);
    shoal_arena_destroy(arena);
}

static void check_loaded(made *t, const shoal_weight *w, const shoal_rect *rect, const float *want,
                         int threads)
{
    const shoal_linear_spec spec = {.n = rect->n_end - rect->n_begin,
                                    .k = w->k,
                                    .kind = w->kind,
                                    .dtype = w->dtype,
                                    .group = w->group,
                                    .has_zeros = w->has_zeros,
                                    .zero_const = w->zero_const,
                                    .act = w->kind == SHOAL_WEIGHT_FLOAT ? SHOAL_ACT_F32
                                                                         : SHOAL_ACT_INT8,
                                    .act_group = 128};
    float biases[QKV_ROWS];
    shoal_arena *arena;
    shoal_linear linear;
    shoal_pool *pool;
    if (w->bias)
        assert_int_equal(
            shoal_vector_read(t->manifest, w->bias, 0, w->bias->shape[0], NULL, biases), SHOAL_OK);
    assert_int_equal(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena), SHOAL_OK);
    assert_int_equal(shoal_pool_create(threads, true, &pool), SHOAL_OK);
    const shoal_cpu_level cap = threads == 1 ? SHOAL_CPU_REF : shoal_cpu_best();
    const uint64_t before = shoal_checkpoint_bytes_read(t->checkpoint);
    if (shoal_load_linear(t->manifest, w, rect, &spec, cap, arena, pool, &linear) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    assert_int_equal(shoal_checkpoint_bytes_read(t->checkpoint) - before,
                     shoal_weight_read_bytes(w, rect) + shoal_weight_bias_bytes(w, rect));
    for (int64_t n = 0; n < spec.n; n++) {
        const int64_t row = row_of(t->family, w->role, rect->n_begin + n);
        for (int64_t k = 0; k < spec.k; k++)
            assert_true(shoal_linear_weight(&linear, n, k) == want[row * w->k + k]);
        if (w->bias)
            assert_true(linear.bias[n] == biases[row]);
    }
    shoal_pool_destroy(pool);
    shoal_arena_destroy(arena);
}

static void check_role(made *t, shoal_role role)
{
    const shoal_weight *w = shoal_manifest_weight(t->manifest, 0, role);
    float *want = whole_module(t, w, rows_of(t->family, role));
    int32_t columns[QKV_ROWS];
    for (int round = 0; round < 12; round++) {
        shoal_rect rect = {.n_end = w->n, .k_end = w->k};
        if (round > 0) {
            rect.n_begin = maker_below(&t->m, w->n);
            rect.n_end = rect.n_begin + maker_below(&t->m, w->n - rect.n_begin + 1);
        }
        check_loaded(t, w, &rect, want, 1 + round % 3);
        for (int64_t i = 0; i < rect.n_end - rect.n_begin; i++)
            columns[i] = (int32_t)maker_below(&t->m, w->n);
        rect.columns = round % 2 ? columns : NULL;
        check_read(t, w, &rect, want);
    }
    free(want);
}

static void every_row_has_its_owner(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
        for (stored_form form = DENSE; form <= AWQ; form++) {
            made t;
            make(&families[f], form, &t);
            for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
                check_role(&t, role);
            unmake(&t);
        }
}

/* ---- written back ---- */

static void check_written(const made *t, const shoal_checkpoint *file, shoal_role role)
{
    const shoal_weight *w = shoal_manifest_weight(t->manifest, 0, role);
    const int64_t rows = rows_of(t->family, role);
    char name[160];
    float *want = whole_module(t, w, rows), *got;
    shoal_weight_name(t->manifest, w, name, sizeof name - 8);
    strcat(name, ".weight");
    const shoal_tensor *tensor = shoal_checkpoint_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->bytes, (uint64_t)(rows * w->k) * sizeof *want);
    got = maker_alloc(tensor->bytes);
    assert_int_equal(shoal_checkpoint_read(file, tensor, 0, tensor->bytes, got), SHOAL_OK);
    assert_memory_equal(got, want, tensor->bytes);
    free(got);
    free(want);
    if (!w->bias)
        return;
    float stored[QKV_ROWS], written[QKV_ROWS];
    tensor = shoal_checkpoint_find(file, w->bias->name);
    assert_non_null(tensor);
    assert_int_equal(tensor->bytes, (uint64_t)rows * sizeof(float));
    assert_int_equal(shoal_vector_read(t->manifest, w->bias, 0, rows, NULL, stored), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_read(file, tensor, 0, tensor->bytes, written), SHOAL_OK);
    assert_memory_equal(written, stored, tensor->bytes);
}

static void modules_come_back_whole(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
        for (stored_form form = DENSE; form <= AWQ; form++) {
            made t;
            char path[320];
            shoal_checkpoint *file;
            make(&families[f], form, &t);
            maker_path(&t.m, "dequant.safetensors", path, sizeof path);
            if (shoal_dequant_file(t.manifest, path, NULL, NULL) != SHOAL_OK ||
                shoal_checkpoint_open(path, &file) != SHOAL_OK)
                fail_msg("%s", shoal_error_text());
            for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
                check_written(&t, file, role);
            shoal_checkpoint_close(file);
            unlink(path);
            unmake(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_owner),
        cmocka_unit_test(modules_come_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
