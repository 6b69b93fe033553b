/* libFuzzer target: a config.json.
 *
 * An accepted model keeps every promise of shard/model.h: numbers inside their caps and fitting
 * each other, finite rope frequencies in (0, 1], a quantization text that parses or is refused. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/model.h"
#include "shard/quantization.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

static void check_layer(const shoal_model *m, const shoal_layer *layer)
{
    must(within(layer->window, 0, SHOAL_CONTEXT_MAX));
    must(within(layer->rope, -1, m->rope_count - 1));
    must(isfinite(layer->attention_scale) && layer->attention_scale > 0);
    must(isfinite(layer->attention_soft_cap) && layer->attention_soft_cap >= 0);
    must(within(layer->intermediate, 1, SHOAL_INTERMEDIATE_MAX));
    must(layer->experts_per_token <= layer->experts);
}

/* Linear and yarn may slow down by a factor below one, so the bound is loose. */
static void check_rope(const shoal_model *m, const shoal_rope *rope)
{
    static float frequencies[SHOAL_HEAD_DIM_MAX / 2];
    must(within(rope->dim, 2, m->head_dim) && rope->dim % 2 == 0);
    must(isfinite(rope->attention_factor) && rope->attention_factor > 0);
    const int64_t lengths[] = {1, m->context, m->reach};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        shoal_rope_frequencies(rope, lengths[k], frequencies);
        for (int64_t i = 0; i < rope->dim / 2; i++)
            must(frequencies[i] > 0 && frequencies[i] <= 1e6f);
    }
}

/* What a config says of a module, or why it is refused. */
static void check_quantization(const char *json)
{
    shoal_quantization_config *config = NULL;
    const shoal_quantization *says = NULL;
    const shoal_status st = shoal_quantization_open(json, &config);
    if (st != SHOAL_OK) {
        must_be_refusal(st);
        must(config == NULL);
        return;
    }
    const shoal_status found =
        shoal_quantization_of(config, "model.layers.10.mlp.down_proj", &says);
    if (found != SHOAL_OK)
        must_be_refusal(found);
    else
        must(says != NULL);
    shoal_quantization_close(config);
}

static void check_model(const shoal_model *m)
{
    must(within(m->hidden, 1, SHOAL_HIDDEN_MAX) && within(m->vocab, 1, SHOAL_VOCAB_MAX));
    must(within(m->reach, m->context, SHOAL_CONTEXT_MAX));
    must(within(m->context, 1, SHOAL_CONTEXT_MAX) && within(m->heads, 1, SHOAL_HEADS_MAX));
    must(within(m->kv_heads, 1, m->heads) && m->heads % m->kv_heads == 0);
    must(within(m->head_dim, 2, SHOAL_HEAD_DIM_MAX) && m->head_dim % 2 == 0);
    must(within(m->layer_count, 1, SHOAL_LAYERS_MAX));
    must(within(m->rope_count, 1, SHOAL_ROPES_MAX));
    must(isfinite(m->norm_eps) && m->norm_eps > 0);
    must(within(m->bos, -1, m->vocab - 1) && within(m->eos_count, 0, SHOAL_EOS_MAX));
    for (int i = 0; i < m->eos_count; i++)
        must(within(m->eos[i], 0, m->vocab - 1));
    for (int64_t i = 0; i < m->layer_count; i++)
        check_layer(m, &m->layers[i]);
    for (int i = 0; i < m->rope_count; i++)
        check_rope(m, &m->ropes[i]);
    check_quantization(m->quantization_json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_model *model = NULL;
    const shoal_status st = shoal_model_parse((const char *)data, size, "fuzz", &model);
    if (st == SHOAL_OK) {
        check_model(model);
        shoal_model_close(model);
    } else {
        must_be_refusal(st);
        must(model == NULL);
    }
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0 && shoal_mem_live(SHOAL_MEM_OTHER) == 0);
    return 0;
}
