/* shard/convert_config.c - see convert_config.h. */
#include "shard/convert_config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/json_file.h"
#include "shard/model_folder.h"
#include "shard/model_gguf.h"
#include "shard/pack_file.h"

static shoal_status checked(json_t *document, const char *what, json_t **out)
{
    if (!document)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for %s", what);
    *out = document;
    return SHOAL_OK;
}

shoal_status shoal_convert_quantization(const shoal_convert_plan *plan, json_t **out)
{
    const shoal_writer *writer = plan->target->writer;
    json_t *config = NULL;
    *out = NULL;
    if (!writer->config)
        return SHOAL_OK;
    SHOAL_TRY(checked(json_object(), "the quantization config", &config));
    const shoal_status st = writer->config(plan->target, plan->modules, plan->module_count, config);
    if (st == SHOAL_OK)
        *out = config;
    else
        json_decref(config);
    return st;
}

/* "bfloat16" under the name that the config has for it. */
static void set_dtype(const shoal_convert_plan *plan, json_t *config)
{
    const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
    if (!plan->target->writer->writes_floats || plan->target->writer == &shoal_writer_pack ||
        plan->module_count == 0)
        return;
    const shoal_dtype dtype = plan->modules[0].form.dtype;
    json_object_set_new(config, key,
                        json_string(dtype == SHOAL_BF16  ? "bfloat16"
                                    : dtype == SHOAL_F16 ? "float16"
                                                         : "float32"));
}

/* Factors of a rope, as config.json says them. */
static void set_scaling(const shoal_convert_plan *plan, json_t *config)
{
    shoal_rope scaling;
    if (!shoal_rope_find_llama3(&plan->manifest->model->ropes[0], &scaling))
        return;
    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor",
                                  scaling.factor, "low_freq_factor", scaling.low_freq_factor,
                                  "high_freq_factor", scaling.high_freq_factor,
                                  "original_max_position_embeddings",
                                  (json_int_t)scaling.original_context));
}

/* The class that programs ask a config for; metadata of GGUF name none. */
static void set_class(json_t *config)
{
    static const char *const classes[][2] = {
        {"llama", "LlamaForCausalLM"},        {"mistral", "MistralForCausalLM"},
        {"mixtral", "MixtralForCausalLM"},    {"qwen2", "Qwen2ForCausalLM"},
        {"qwen3", "Qwen3ForCausalLM"},        {"qwen2_moe", "Qwen2MoeForCausalLM"},
        {"qwen3_moe", "Qwen3MoeForCausalLM"}, {"phi3", "Phi3ForCausalLM"},
        {"gemma", "GemmaForCausalLM"},        {"gemma2", "Gemma2ForCausalLM"},
        {"gemma3_text", "Gemma3ForCausalLM"},
    };
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; type && i < sizeof classes / sizeof classes[0]; i++)
        if (strcmp(type, classes[i][0]) == 0)
            json_object_set_new(config, "architectures", json_pack("[s]", classes[i][1]));
}

/* The config of the source: its config.json, or what stands for it in other containers. */
static shoal_status read_config(const shoal_convert_plan *plan, const char *source, json_t **out)
{
    const shoal_json_limits limits = {16u << 20, 64, 1000000};
    const shoal_checkpoint *checkpoint = plan->manifest->checkpoint;
    const shoal_pack_file *pack = shoal_checkpoint_pack(checkpoint);
    uint64_t bytes = 0;
    char *path;
    if (shoal_checkpoint_gguf(checkpoint)) {
        SHOAL_TRY(shoal_gguf_config(checkpoint, source, out));
        set_class(*out);
        set_scaling(plan, *out);
        return SHOAL_OK;
    }
    const char *text = pack ? shoal_pack_text(pack, "config.json", &bytes) : NULL;
    if (text)
        return shoal_json_parse(text, bytes, source, &limits, out);
    SHOAL_TRY(shoal_folder_join(source, "config.json", &path));
    const shoal_status st = shoal_json_read(path, &limits, out);
    shoal_free(path);
    return st;
}

shoal_status shoal_convert_config(const shoal_convert_plan *plan, const char *source,
                                  json_t *quantization, json_t **out)
{
    json_t *config = NULL;
    SHOAL_TRY(read_config(plan, source, &config));
    json_object_del(config, "compression_config");
    if (quantization)
        json_object_set(config, "quantization_config", quantization);
    else
        json_object_del(config, "quantization_config");
    set_dtype(plan, config);
    *out = config;
    return SHOAL_OK;
}

void shoal_convert_file_name(const shoal_convert_plan *plan, int file, char out[64])
{
    if (plan->files == 1)
        (void)snprintf(out, 64, "model.safetensors");
    else
        (void)snprintf(out, 64, "model-%05d-of-%05d.safetensors", file + 1, plan->files);
}

shoal_status shoal_convert_index(const shoal_convert_plan *plan, json_t **out)
{
    json_t *map = json_object();
    for (size_t i = 0; map && i < plan->item_count; i++) {
        const shoal_convert_item *item = &plan->items[i];
        char file[64];
        shoal_convert_file_name(plan, item->file, file);
        for (int t = 0; t < item->count; t++)
            json_object_set_new(map, plan->tensors[item->first + (size_t)t].decl.name,
                                json_string(file));
    }
    return checked(json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)plan->bytes,
                             "weight_map", map),
                   "the index", out);
}

/* The entries of one item: a module has one for all its tensors. */
static void add_entries(const shoal_convert_plan *plan, const shoal_convert_item *item,
                        json_t *metadata, json_t *names)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    const shoal_written_module *m = item->module >= 0 ? &plan->modules[item->module] : NULL;
    const bool integers = m && m->form.kind != SHOAL_WEIGHT_FLOAT;
    if (integers)
        (void)snprintf(name, sizeof name, "%s.weight", m->module.name);
    else
        (void)snprintf(name, sizeof name, "%s", plan->tensors[item->first].decl.name);
    json_t *value = plan->target->writer->metadata(plan->target, integers ? m : NULL);
    char *text = json_dumps(value, 0);
    json_object_set_new(metadata, name, json_string(text ? text : ""));
    json_array_append_new(names, json_string(name));
    free(text); /* jansson allocates it with malloc */
    json_decref(value);
}

shoal_status shoal_convert_metadata(const shoal_convert_plan *plan, int file, json_t **out)
{
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    json_t *names = json_array();
    const bool entries = plan->target->writer->metadata != NULL;
    for (size_t i = 0; entries && metadata && i < plan->item_count; i++)
        if (plan->items[i].file == file)
            add_entries(plan, &plan->items[i], metadata, names);
    char *text = json_dumps(names, 0);
    if (entries && metadata)
        json_object_set_new(metadata, "tensor_names", json_string(text ? text : "[]"));
    free(text); /* jansson allocates it with malloc */
    json_decref(names);
    return checked(metadata, "__metadata__", out);
}
