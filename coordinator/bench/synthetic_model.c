#include "coordinator/bench/synthetic_model.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/random.h"
#include "coordinator/cluster/interrupt.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/safetensors_write.h"

#define GROUP        128
#define NAME_ROOM    96
#define BLOCK_WORDS  16384
#define LAYER_PARTS  (2 + 7 * 3)
#define MODEL_PARTS  (1 + 3 + 1)
#define ZEROS_WORD   0x7777777777777777u /* v1 stores the zero, 8, less one */
#define FOUR_HALVES  0x0001000100010001u
#define BF16_ONE     0x3f80u
#define BF16_HALF    0x3f00u
#define BF16_FREE    0x807fu /* sign and mantissa */
#define F16_BIAS     15
#define F16_MANTISSA 10

static const shoal_bench_shape shapes[] = {
    {"1b", 16, 2048, 8192, 32, 8, 64, 32000, 2048, false},
    {"3b", 28, 3072, 8192, 24, 8, 128, 32000, 2048, true},
    {"tiny", 2, 256, 768, 4, 2, 64, 1024, 1024, false},
};

const shoal_bench_shape *shoal_bench_shape_find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

/* Every 64-bit word of a tensor is fixed | (random & free). */
typedef struct {
    uint64_t fixed, free;
} filling;

typedef struct {
    shoal_tensor_decl *decls; /* [count] */
    filling *fillings;        /*         */
    char (*names)[NAME_ROOM]; /*         */
    uint64_t count;
} recipe;

/* ---- what the file holds --------------------------------------------------------------------- */

static void add(recipe *r, shoal_dtype dtype, int64_t rows, int64_t columns, filling with,
                const char *format, ...) SHOAL_PRINTF(6, 7);
static void add(recipe *r, shoal_dtype dtype, int64_t rows, int64_t columns, filling with,
                const char *format, ...)
{
    va_list args;
    char *name = r->names[r->count];
    va_start(args, format);
    (void)vsnprintf(name, NAME_ROOM, format, args);
    va_end(args);
    r->fillings[r->count] = with;
    r->decls[r->count++] = (shoal_tensor_decl){
        .name = name,
        .dtype = dtype,
        .rank = columns ? 2 : 1,
        .shape = {rows, columns},
    };
}

/* Scales of [2^-e, 2^(1-e)): uniform codes deviate by 4.6, so a sum of k products of inputs of
 * size 1 deviates by 4.6 * 1.5 * 2^-e * sqrt(k), here about 1. */
static filling scales_for(int64_t k)
{
    uint64_t exponent = 3;
    for (int64_t i = 1; i < k; i *= 4)
        exponent++;
    return (filling){((F16_BIAS - exponent) << F16_MANTISSA) * FOUR_HALVES, 0x03ff * FOUR_HALVES};
}

static void add_linear(recipe *r, const char *module, int64_t n, int64_t k)
{
    add(r, SHOAL_I32, k / 8, n, (filling){0, UINT64_MAX}, "%s.qweight", module);
    add(r, SHOAL_I32, k / GROUP, n / 8, (filling){ZEROS_WORD, 0}, "%s.qzeros", module);
    add(r, SHOAL_F16, k / GROUP, n, scales_for(k), "%s.scales", module);
}

static void add_norm(recipe *r, const shoal_bench_shape *s, const char *name)
{
    add(r, SHOAL_BF16, s->hidden, 0, (filling){BF16_ONE * FOUR_HALVES, 0}, "%s.weight", name);
}

static void add_layer(recipe *r, const shoal_bench_shape *s, int64_t layer)
{
    const int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        const char *name;
        int64_t n, k;
    } linears[] = {
        {"self_attn.q_proj", q, s->hidden},
        {"self_attn.k_proj", kv, s->hidden},
        {"self_attn.v_proj", kv, s->hidden},
        {"self_attn.o_proj", s->hidden, q},
        {"mlp.gate_proj", s->intermediate, s->hidden},
        {"mlp.up_proj", s->intermediate, s->hidden},
        {"mlp.down_proj", s->hidden, s->intermediate},
    };
    char name[NAME_ROOM];
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        (void)snprintf(name, sizeof name, "model.layers.%d.%s", (int)layer, linears[i].name);
        add_linear(r, name, linears[i].n, linears[i].k);
    }
    (void)snprintf(name, sizeof name, "model.layers.%d.input_layernorm", (int)layer);
    add_norm(r, s, name);
    (void)snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm", (int)layer);
    add_norm(r, s, name);
}

static void list_tensors(const shoal_bench_shape *s, recipe *r)
{
    add(r, SHOAL_BF16, s->vocab, s->hidden,
        (filling){BF16_HALF * FOUR_HALVES, BF16_FREE * FOUR_HALVES}, "model.embed_tokens.weight");
    for (int64_t layer = 0; layer < s->layers; layer++)
        add_layer(r, s, layer);
    add_norm(r, s, "model.norm");
    if (!s->tied)
        add_linear(r, "lm_head", s->vocab, s->hidden);
}

static shoal_status make_recipe(const shoal_bench_shape *s, shoal_arena *arena, recipe *r)
{
    const uint64_t count = MODEL_PARTS + (uint64_t)s->layers * LAYER_PARTS;
    void *decls, *fillings, *names;
    SHOAL_TRY(shoal_arena_array(arena, count, sizeof *r->decls, &decls));
    SHOAL_TRY(shoal_arena_array(arena, count, sizeof *r->fillings, &fillings));
    SHOAL_TRY(shoal_arena_array(arena, count, sizeof *r->names, &names));
    *r = (recipe){.decls = decls, .fillings = fillings, .names = names};
    list_tensors(s, r);
    return SHOAL_OK;
}

/* ---- writing it ------------------------------------------------------------------------------ */

/* Sizes are multiples of 8 bytes: every dimension is one of 64. */
static shoal_status write_tensor(shoal_st_writer *file, const shoal_tensor_decl *decl, filling with,
                                 uint64_t *state, uint64_t *block)
{
    const int64_t elements = decl->shape[0] * (decl->rank == 2 ? decl->shape[1] : 1);
    uint64_t words = (uint64_t)elements * shoal_dtype_bytes(decl->dtype) / sizeof *block;
    while (words > 0) {
        const uint64_t now = words < BLOCK_WORDS ? words : BLOCK_WORDS;
        for (uint64_t i = 0; i < now; i++)
            block[i] = with.fixed | (shoal_bench_random(state) & with.free);
        SHOAL_TRY(shoal_st_writer_append(file, block, now * sizeof *block));
        words -= now;
    }
    return shoal_interrupt_check();
}

static shoal_status write_tensors(const recipe *r, uint64_t seed, const char *path, uint64_t *block)
{
    shoal_status st = SHOAL_OK;
    shoal_st_writer *file;
    SHOAL_TRY(shoal_st_writer_create(path, r->decls, r->count, &file));
    for (uint64_t i = 0; i < r->count && st == SHOAL_OK; i++)
        st = write_tensor(file, &r->decls[i], r->fillings[i], &seed, block);
    if (st == SHOAL_OK)
        return shoal_st_writer_finish(file);
    shoal_st_writer_abandon(file);
    return st;
}

static shoal_status write_config(const shoal_bench_shape *s, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return shoal_fail(SHOAL_ERR_CREATE, "%s: %s", path, strerror(errno));
    const bool written =
        fprintf(file,
                "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\",\n"
                " \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d,\n"
                " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d,\n"
                " \"vocab_size\": %d, \"max_position_embeddings\": %d, \"hidden_act\": \"silu\",\n"
                " \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"rope_scaling\": null,\n"
                " \"tie_word_embeddings\": %s, \"bos_token_id\": 1, \"eos_token_id\": 2,\n"
                " \"torch_dtype\": \"bfloat16\", \"quantization_config\":\n"
                " {\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": %d, \"sym\": true,\n"
                "  \"desc_act\": false, \"lm_head\": %s, \"checkpoint_format\": \"gptq\"}}\n",
                (int)s->hidden, (int)s->intermediate, (int)s->layers, (int)s->heads,
                (int)s->kv_heads, (int)s->head_dim, (int)s->vocab, (int)s->context,
                s->tied ? "true" : "false", GROUP, s->tied ? "false" : "true") > 0;
    if (fclose(file) != 0 || !written)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
    return SHOAL_OK;
}

static shoal_status path_in(const char *folder, const char *name, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return shoal_fail(SHOAL_ERR_CREATE, "%.200s...: the path is too long", folder);
    return SHOAL_OK;
}

shoal_status shoal_bench_synthetic_write(const shoal_bench_shape *shape, uint64_t seed,
                                         const char *folder)
{
    shoal_status st = SHOAL_OK;
    char path[PATH_MAX];
    void *block;
    recipe r;
    shoal_arena *arena;
    SHOAL_TRY(path_in(folder, "config.json", path));
    SHOAL_TRY(write_config(shape, path));
    SHOAL_TRY(path_in(folder, "model.safetensors", path));
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(make_recipe(shape, arena, &r), destroy);
    SHOAL_TRY_GOTO(shoal_arena_array(arena, BLOCK_WORDS, sizeof(uint64_t), &block), destroy);
    st = write_tensors(&r, seed, path, block);

destroy:
    shoal_arena_destroy(arena);
    return st;
}
