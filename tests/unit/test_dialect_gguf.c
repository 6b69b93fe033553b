/* GGUF models made here: every type of block, element by element against a decoder that is written
 * a second time from the format's description; rows of q and k in order; parts; what comes from
 * metadata and tensors into the model; what is refused. */
#include "tests/unit/gguf_case.h"

static void compare_weight(const opened *o, gguf_maker *m, shoal_role role, const char *name,
                           int64_t pairs)
{
    const shoal_weight *w = shoal_manifest_weight(o->manifest, 0, role);
    const gguf_maker_tensor *t = gguf_find(m, name);
    compare_rect(o, w, t, &(shoal_rect){.n_end = w->n, .k_end = w->k}, pairs);
    for (int i = 0; i < 8; i++) {
        shoal_rect rect = {0};
        rect.n_begin = (int64_t)(gguf_random(m) % (uint64_t)w->n);
        rect.n_end = rect.n_begin + (int64_t)(gguf_random(m) % (uint64_t)(w->n - rect.n_begin + 1));
        rect.k_begin = (int64_t)(gguf_random(m) % (uint64_t)w->k);
        rect.k_end = rect.k_begin + (int64_t)(gguf_random(m) % (uint64_t)(w->k - rect.k_begin + 1));
        compare_rect(o, w, t, &rect, pairs);
    }
}

static const struct {
    shoal_role role;
    const char *name;
    bool pairs; /* in files of llama */
} weights[] = {
    {SHOAL_ROLE_Q, "blk.0.attn_q.weight", true},
    {SHOAL_ROLE_K, "blk.0.attn_k.weight", true},
    {SHOAL_ROLE_V, "blk.0.attn_v.weight", false},
    {SHOAL_ROLE_O, "blk.0.attn_output.weight", false},
    {SHOAL_ROLE_GATE, "blk.0.ffn_gate.weight", false},
    {SHOAL_ROLE_UP, "blk.0.ffn_up.weight", false},
    {SHOAL_ROLE_DOWN, "blk.0.ffn_down.weight", false},
    {SHOAL_ROLE_LM_HEAD, "output.weight", false},
    {SHOAL_ROLE_EMBEDDING, "token_embd.weight", false},
};

static void compare_type(uint32_t type, const char *architecture)
{
    gguf_maker m = {.seed = type + 1};
    opened o;
    const bool llama = strcmp(architecture, "llama") == 0;
    gguf_model(&m, architecture, type);
    for (int i = 0; !llama && i < 3; i++) {
        static const char *const biases[] = {"blk.0.attn_q.bias", "blk.0.attn_k.bias",
                                             "blk.0.attn_v.bias"};
        gguf_tensor(&m, biases[i], 0, 0, (i ? GGUF_KV_HEADS : GGUF_HEADS) * GGUF_HEAD_DIM);
    }
    write_and_open(&m, &o);
    for (size_t i = 0; i < LENGTH(weights); i++)
        compare_weight(&o, &m, weights[i].role, weights[i].name,
                       llama && weights[i].pairs ? GGUF_HEAD_DIM : 0);
    remove_folder(&o);
    gguf_forget(&m);
}

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(block_types); i++)
        compare_type(block_types[i], "llama");
    for (size_t i = 0; i < LENGTH(plain_types); i++)
        compare_type(plain_types[i], "llama");
    compare_type(12, "qwen2");
}

/* Biases move with the rows of q and k. */
static void test_biases(void **state)
{
    gguf_maker m = {.seed = 77};
    opened o;
    float got[GGUF_HEADS * GGUF_HEAD_DIM];
    (void)state;
    gguf_model(&m, "llama", 8);
    gguf_tensor(&m, "blk.0.attn_q.bias", 0, 0, GGUF_HEADS * GGUF_HEAD_DIM);
    write_and_open(&m, &o);
    const shoal_weight *q = shoal_manifest_weight(o.manifest, 0, SHOAL_ROLE_Q);
    const gguf_maker_tensor *bias = gguf_find(&m, "blk.0.attn_q.bias");
    assert_non_null(q->bias);
    must(shoal_vector_read(o.manifest, q->bias, 30, 130, NULL, got));
    for (int64_t i = 30; i < 130; i++)
        assert_true(got[i - 30] == value_of(bias, 0, stored_row(i, GGUF_HEAD_DIM)));
    remove_folder(&o);
    gguf_forget(&m);
}

/* Integers made of float rows are those of the rows in order. */
static void test_quantized_at_load(void **state)
{
    gguf_maker m = {.seed = 5};
    opened o;
    shoal_arena *arena;
    shoal_canonical block;
    (void)state;
    gguf_model(&m, "llama", 1);
    make_folder(&o);
    gguf_write(&m, o.path);
    must(open_path(&o, o.path, "int8"));
    const shoal_weight *q = shoal_manifest_weight(o.manifest, 0, SHOAL_ROLE_Q);
    const shoal_rect rect = {.n_begin = 3, .n_end = 70, .k_end = GGUF_HIDDEN};
    must(shoal_arena_create(SHOAL_MEM_OTHER, &arena));
    must(shoal_weight_read(o.manifest, q, &rect, arena, &block));
    for (int64_t n = 0; n < block.n; n++)
        for (int64_t k = 0; k < block.k; k++) {
            const float want = value_of(gguf_find(&m, "blk.0.attn_q.weight"),
                                        stored_row(rect.n_begin + n, GGUF_HEAD_DIM), k);
            const float got = (float)(block.codes[n * block.k + k] - 128) * block.scales[n];
            assert_true(fabsf(got - want) <= 0.501f * block.scales[n]);
        }
    shoal_arena_destroy(arena);
    remove_folder(&o);
    gguf_forget(&m);
}

/* ---- the description ---- */

static void test_tied(void **state)
{
    gguf_maker m = {.seed = 9};
    opened o;
    (void)state;
    gguf_model(&m, "llama", 14);
    gguf_drop(&m, "output.weight");
    write_and_open(&m, &o);
    assert_true(o.model->tied);
    const shoal_weight *head = shoal_manifest_weight(o.manifest, -1, SHOAL_ROLE_LM_HEAD);
    assert_int_equal(head->kind, SHOAL_WEIGHT_INT8);
    compare_rect(&o, head, gguf_find(&m, "token_embd.weight"),
                 &(shoal_rect){.n_begin = 5, .n_end = 90, .k_end = GGUF_HIDDEN}, 0);
    remove_folder(&o);
    gguf_forget(&m);
}

static void test_description(void **state)
{
    gguf_maker m = {.seed = 1};
    opened o;
    (void)state;
    gguf_model(&m, "llama", 8);
    gguf_f32(&m, "llama.rope.freq_base", 5e5f);
    gguf_u32(&m, "llama.attention.sliding_window", 32);
    gguf_u32(&m, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(&m, "tokenizer.ggml.eos_token_id", 2);
    gguf_u32(&m, "tokenizer.ggml.eot_token_id", 7);
    write_and_open(&m, &o);
    assert_string_equal(o.model->family, "mistral");
    assert_int_equal(o.model->vocab, GGUF_VOCAB);
    assert_int_equal(o.model->head_dim, GGUF_HEAD_DIM);
    assert_int_equal(o.model->kv_heads, GGUF_KV_HEADS);
    assert_int_equal(o.model->layers[0].window, 32);
    assert_int_equal(o.model->bos, 1);
    assert_int_equal(o.model->eos_count, 2);
    assert_int_equal(o.model->eos[1], 7);
    assert_true(o.model->ropes[0].theta == 5e5);
    assert_true(o.model->norm_eps == 1e-5f);
    assert_false(o.model->tied);
    remove_folder(&o);
    gguf_forget(&m);
}

/* Gemma: norms that are what they multiply by, soft caps, and scores divided as head_dim says. */
static void test_gemma(void **state)
{
    gguf_maker m = {.seed = 2};
    opened o;
    (void)state;
    gguf_model(&m, "gemma3", 8);
    gguf_tensor(&m, "blk.0.attn_q_norm.weight", 0, 0, GGUF_HEAD_DIM);
    gguf_tensor(&m, "blk.0.attn_k_norm.weight", 0, 0, GGUF_HEAD_DIM);
    gguf_tensor(&m, "blk.0.post_attention_norm.weight", 0, 0, GGUF_HIDDEN);
    gguf_tensor(&m, "blk.0.post_ffw_norm.weight", 0, 0, GGUF_HIDDEN);
    gguf_u32(&m, "gemma3.attention.sliding_window", 32);
    gguf_f32(&m, "gemma3.final_logit_softcapping", 20);
    write_and_open(&m, &o);
    assert_string_equal(o.model->family, "gemma3_text");
    assert_true(o.model->norm_weight_offset == 0);
    assert_true(o.model->embedding_scale == 16);
    assert_true(o.model->logits_soft_cap == 20);
    assert_int_equal(o.model->layers[0].window, 32);
    assert_true(o.model->layers[0].attention_scale == 0.125f);
    remove_folder(&o);
    gguf_forget(&m);
}

/* Phi-3 stacks q, k, v and gate, up, in the order of their rows. */
static void test_phi3(void **state)
{
    const uint64_t q = GGUF_HEADS * GGUF_HEAD_DIM, kv = GGUF_KV_HEADS * GGUF_HEAD_DIM;
    static const struct {
        shoal_role role;
        const char *name;
        int64_t first;
    } parts[] = {{SHOAL_ROLE_K, "blk.0.attn_qkv.weight", GGUF_HEADS * GGUF_HEAD_DIM},
                 {SHOAL_ROLE_UP, "blk.0.ffn_up.weight", GGUF_INTERMEDIATE}};
    gguf_maker m = {.seed = 2};
    opened o;
    (void)state;
    gguf_model(&m, "phi3", 12);
    gguf_drop(&m, "blk.0.attn_q.weight");
    gguf_drop(&m, "blk.0.attn_k.weight");
    gguf_drop(&m, "blk.0.attn_v.weight");
    gguf_drop(&m, "blk.0.ffn_gate.weight");
    gguf_drop(&m, "blk.0.ffn_up.weight");
    gguf_tensor(&m, "blk.0.attn_qkv.weight", 12, q + 2 * kv, GGUF_HIDDEN);
    gguf_tensor(&m, "blk.0.ffn_up.weight", 12, 2 * GGUF_INTERMEDIATE, GGUF_HIDDEN);
    write_and_open(&m, &o);
    for (size_t i = 0; i < LENGTH(parts); i++) {
        const shoal_weight *w = shoal_manifest_weight(o.manifest, 0, parts[i].role);
        gguf_maker_tensor part = *gguf_find(&m, parts[i].name);
        part.data += (size_t)parts[i].first * part.row_bytes;
        compare_rect(&o, w, &part,
                     &(shoal_rect){.n_begin = 5, .n_end = 77, .k_begin = 40, .k_end = 200}, 0);
    }
    remove_folder(&o);
    gguf_forget(&m);
}

static void test_rope_factors(void **state)
{
    gguf_maker m = {.seed = 1};
    opened o;
    float plain[GGUF_HEAD_DIM / 2], divided[GGUF_HEAD_DIM / 2];
    (void)state;
    gguf_model(&m, "llama", 8);
    gguf_maker_tensor *t = gguf_tensor(&m, "rope_freqs.weight", 0, 0, GGUF_HEAD_DIM / 2);
    for (int i = 0; i < GGUF_HEAD_DIM / 2; i++)
        shoal_store_le32(t->data + 4 * i, shoal_f32_bits(1.0f + (float)i / 3));
    write_and_open(&m, &o);
    shoal_rope rope = o.model->ropes[0];
    shoal_rope_frequencies(&rope, 1, divided);
    rope.factors = NULL;
    shoal_rope_frequencies(&rope, 1, plain);
    for (int i = 0; i < GGUF_HEAD_DIM / 2; i++)
        assert_true(divided[i] == plain[i] / (1.0f + (float)i / 3));
    remove_folder(&o);
    shoal_store_le32(gguf_find(&m, "rope_freqs.weight")->data, 0);
    refuse(&m, "no factor");
    gguf_forget(&m);
}

static void test_scaled_rope(void **state)
{
    gguf_maker m = {.seed = 1};
    opened o;
    (void)state;
    gguf_model(&m, "qwen3", 8);
    gguf_tensor(&m, "blk.0.attn_q_norm.weight", 0, 0, GGUF_HEAD_DIM);
    gguf_tensor(&m, "blk.0.attn_k_norm.weight", 0, 0, GGUF_HEAD_DIM);
    gguf_text(&m, "qwen3.rope.scaling.type", "yarn");
    gguf_f32(&m, "qwen3.rope.scaling.factor", 4);
    gguf_u32(&m, "qwen3.rope.scaling.original_context_length", 32);
    write_and_open(&m, &o);
    assert_int_equal(o.model->ropes[0].kind, SHOAL_ROPE_YARN);
    assert_true(o.model->ropes[0].factor == 4 && o.model->ropes[0].original_context == 32);
    assert_true(fabs(o.model->ropes[0].attention_factor - (0.1 * log(4) + 1)) < 1e-12);
    assert_true(o.model->layers[0].qk_norm);
    remove_folder(&o);
    gguf_forget(&m);
}

/* It multiplies the scale that follows from the factor; where there is none, nothing is guessed. */
static void test_attention_factor(void **state)
{
    (void)state;
    for (int factor = 0; factor <= 4; factor += 4) {
        gguf_maker m = {.seed = 1};
        opened o;
        gguf_model(&m, "llama", 8);
        gguf_text(&m, "llama.rope.scaling.type", "yarn");
        gguf_u32(&m, "llama.rope.scaling.original_context_length", 32);
        gguf_f32(&m, "llama.rope.scaling.attn_factor", 2);
        if (factor) {
            gguf_f32(&m, "llama.rope.scaling.factor", (float)factor);
            write_and_open(&m, &o);
            assert_true(fabs(o.model->ropes[0].attention_factor - 2 * (0.1 * log(4) + 1)) < 1e-12);
            remove_folder(&o);
        } else {
            refuse(&m, "rope.scaling.attn_factor is 2");
        }
        gguf_forget(&m);
    }
}

/* ---- parts ---- */

/* Tensors [begin, end) as part `number` of `count`. */
static void write_part(const gguf_maker *m, const opened *o, int number, int count, int begin,
                       int end)
{
    gguf_maker entries = {0};
    char path[160];
    if (number == 0)
        gguf_put(&entries.entries, m->entries.data, m->entries.bytes);
    entries.entry_count = number == 0 ? m->entry_count : 0;
    gguf_u32(&entries, "split.no", (uint32_t)number);
    gguf_u32(&entries, "split.count", (uint32_t)count);
    gguf_u32(&entries, "split.tensors.count", (uint32_t)m->count);
    gguf_bytes bytes = gguf_make(m, &entries.entries, entries.entry_count, begin, end);
    snprintf(path, sizeof path, "%s/m-%05d-of-%05d.gguf", o->folder, number + 1, count);
    gguf_save(path, &bytes);
    free(bytes.data);
    gguf_forget(&entries);
}

static void remove_part(const opened *o, int number, int count)
{
    char path[160];
    snprintf(path, sizeof path, "%s/m-%05d-of-%05d.gguf", o->folder, number + 1, count);
    unlink(path);
}

static void test_parts(void **state)
{
    gguf_maker m = {.seed = 3};
    opened o;
    char second[160];
    (void)state;
    gguf_model(&m, "llama", 12);
    make_folder(&o);
    write_part(&m, &o, 0, 3, 0, 5);
    write_part(&m, &o, 1, 3, 5, 6);
    write_part(&m, &o, 2, 3, 6, m.count);
    must(open_path(&o, o.folder, NULL));
    assert_int_equal(shoal_checkpoint_files(o.checkpoint), 3);
    for (size_t i = 0; i < LENGTH(weights); i++)
        compare_weight(&o, &m, weights[i].role, weights[i].name,
                       weights[i].pairs ? GGUF_HEAD_DIM : 0);
    close_model(&o);

    snprintf(second, sizeof second, "%s/m-00002-of-00003.gguf", o.folder);
    assert_int_equal(open_path(&o, second, NULL), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "part 2"));
    write_part(&m, &o, 1, 3, 4, 6); /* one tensor twice, and one too many */
    assert_int_equal(open_path(&o, o.folder, NULL), SHOAL_ERR_DATA);
    close_model(&o);
    remove_part(&o, 1, 3);
    assert_int_equal(open_path(&o, o.folder, NULL), SHOAL_ERR_NOTFOUND);
    assert_non_null(strstr(shoal_error_text(), "m-00002-of-00003.gguf"));
    remove_part(&o, 0, 3);
    remove_part(&o, 2, 3);
    remove_folder(&o);
    gguf_forget(&m);
}

/* ---- what is refused ---- */

static void refuse_entry(const char *architecture, const char *key, uint32_t value,
                         const char *says)
{
    gguf_maker m = {.seed = 1};
    gguf_model(&m, architecture, 8);
    gguf_u32(&m, key, value);
    refuse(&m, says);
    gguf_forget(&m);
}

static void refuse_without(const char *tensor, const char *says)
{
    gguf_maker m = {.seed = 1};
    gguf_model(&m, "llama", 8);
    gguf_drop(&m, tensor);
    refuse(&m, says);
    gguf_forget(&m);
}

static void refuse_with(const char *tensor, uint32_t type, uint64_t rows, uint64_t inner,
                        const char *says)
{
    gguf_maker m = {.seed = 1};
    gguf_model(&m, "llama", 8);
    for (int i = 0; i < m.count; i++)
        if (strcmp(m.tensors[i].name, tensor) == 0) {
            gguf_drop(&m, tensor);
            break;
        }
    gguf_tensor(&m, tensor, type, rows, inner);
    refuse(&m, says);
    gguf_forget(&m);
}

static void test_refused(void **state)
{
    gguf_maker m = {.seed = 1};
    (void)state;
    gguf_model_entries(&m, "clip");
    gguf_tensor(&m, "token_embd.weight", 0, 8, 8);
    refuse(&m, "'clip' is not known; known are llama, internlm2, qwen2, qwen3, qwen2moe, "
               "qwen3moe, phi3, gemma");
    gguf_forget(&m);

    refuse_entry("qwen3", "qwen3.expert_count", 8, "qwen3.expert_count is 8");
    refuse_entry("llama", "llama.expert_count", 8, "num_experts_per_tok");
    refuse_entry("llama", "llama.rope.dimension_count", 32, "rope.dimension_count");
    refuse_entry("llama", "llama.attention.value_length", 32, "value_length");
    refuse_entry("qwen2", "qwen2.rope.scaling.type", 1, "is not a string");
    refuse_without("token_embd.weight", "token_embd.weight is missing");
    refuse_without("blk.0.ffn_up.weight", "blk.0.ffn_up");
    refuse_with("blk.0.ffn_up.weight", 19, GGUF_INTERMEDIATE, GGUF_HIDDEN, "type IQ1_S");
    refuse_with("blk.0.ffn_up.weight", 8, GGUF_INTERMEDIATE, 2 * GGUF_HIDDEN, "shape");
    refuse_with("blk.0.attn_norm.weight", 8, 0, GGUF_HIDDEN, "dtype Q8_0");
    refuse_with("blk.1.ffn_up.weight", 8, 8, 32, "does not use: blk.1.ffn_up.weight");
    refuse_with("blk.0.ffn_gate_exps.weight", 8, 8, 32, "does not use");
}

/* A scale that is no number is found where it is read, with its place. */
static void test_bad_scale(void **state)
{
    static const struct {
        uint32_t type;
        int at;
        const char *says;
    } rows[] = {{8, 0, "scale that is NaN"},
                {3, 2, "minimum that is NaN"},
                {14, 208, "scale that is NaN"},
                {12, 2, "minimum that is NaN"}};
    (void)state;
    for (size_t i = 0; i < LENGTH(rows); i++) {
        gguf_maker m = {.seed = 1};
        opened o;
        shoal_arena *arena;
        shoal_canonical block;
        gguf_model(&m, "llama", rows[i].type);
        gguf_maker_tensor *t = gguf_find(&m, "blk.0.attn_v.weight");
        uint8_t *at = t->data + 7 * t->row_bytes + rows[i].at;
        at[0] = 0x01, at[1] = 0x7e;
        if (rows[i].type == 12) /* every group has a minimum */
            memset(t->data + 7 * t->row_bytes + 4, 0x55, 12);
        write_and_open(&m, &o);
        const shoal_weight *v = shoal_manifest_weight(o.manifest, 0, SHOAL_ROLE_V);
        const shoal_rect rect = {.n_end = v->n, .k_end = v->k};
        must(shoal_arena_create(SHOAL_MEM_OTHER, &arena));
        assert_int_equal(shoal_weight_read(o.manifest, v, &rect, arena, &block), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), "blk.0.attn_v.weight: row 7, block 0"));
        if (!strstr(shoal_error_text(), rows[i].says))
            fail_msg("\"%s\" does not say \"%s\"", shoal_error_text(), rows[i].says);
        shoal_arena_destroy(arena);
        remove_folder(&o);
        gguf_forget(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),       cmocka_unit_test(test_biases),
        cmocka_unit_test(test_tied),        cmocka_unit_test(test_quantized_at_load),
        cmocka_unit_test(test_description), cmocka_unit_test(test_rope_factors),
        cmocka_unit_test(test_scaled_rope), cmocka_unit_test(test_attention_factor),
        cmocka_unit_test(test_parts),       cmocka_unit_test(test_gemma),
        cmocka_unit_test(test_phi3),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
