/* shard/writer_torchao_int8.c - torchao's Int8Tensor in safetensors, as its own flattening names
 * the parts: MODULE._weight_qdata i8 [n][k], _weight_scale fp32 [n][1], _weight_zero_point i8
 * [n][1] (all zero). What the class needs to know besides stands in __metadata__. */
#include <jansson.h>

#include "shard/writer.h"

enum { QDATA, SCALE, ZERO_POINT };

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    if (!shoal_form_per_channel(m, form))
        return shoal_writer_refuse(target, m, "an Int8Tensor has one scale per output");
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    (void)form;
    parts[QDATA] = (shoal_part){"._weight_qdata", SHOAL_I8, 2, {m->n, m->k}};
    parts[SCALE] = (shoal_part){"._weight_scale", SHOAL_F32, 2, {m->n, 1}};
    parts[ZERO_POINT] = (shoal_part){"._weight_zero_point", SHOAL_I8, 2, {m->n, 1}};
    return 3;
}

static shoal_status pack(const shoal_strip *s)
{
    shoal_strip_signed(s, s->parts[QDATA]);
    shoal_strip_scales(s, false, s->parts[SCALE]);
    return SHOAL_OK;
}

/* {"_type": name, "_version": 1, "_data": {"dim": -1}}: one scale per row. */
static json_t *per_row(bool versioned)
{
    json_t *row = json_pack("{s:s, s:{s:i}}", "_type", "PerRow", "_data", "dim", -1);
    if (versioned)
        json_object_set_new(row, "_version", json_integer(1));
    return row;
}

static json_t *symmetric_mapping(void)
{
    return json_pack("{s:s, s:s}", "_type", "MappingType", "_data", "SYMMETRIC");
}

static json_t *metadata(const shoal_target *target, const shoal_written_module *m)
{
    (void)target;
    if (!m)
        return json_pack("{s:s}", "_type", "Tensor");
    json_t *data = json_pack("{s:[i, I], s:{s:s, s:s}}", "block_size", 1, (json_int_t)m->module.k,
                             "dtype", "_type", "torch.dtype", "_data", "bfloat16");
    if (m->module.weights[0]->per_token)
        json_object_set_new(data, "act_quant_kwargs",
                            json_pack("{s:s, s:{s:o, s:o}}", "_type", "QuantizeTensorToInt8Kwargs",
                                      "_data", "granularity", per_row(false), "mapping_type",
                                      symmetric_mapping()));
    return json_pack("{s:s, s:o, s:[s, s, s]}", "_type", "Int8Tensor", "_data", data,
                     "_tensor_data_names", "qdata", "scale", "zero_point");
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    (void)target;
    bool per_token = false;
    json_t *floats = shoal_float_linears(modules, count);
    for (size_t i = 0; i < count; i++)
        per_token = per_token || modules[i].module.weights[0]->per_token;
    json_t *data = json_pack("{s:o, s:b}", "granularity", per_row(true), "set_inductor_config", 1);
    if (per_token)
        json_object_set_new(data, "act_mapping_type", symmetric_mapping());
    json_array_append_new(floats, json_string("lm_head"));
    json_t *values =
        json_pack("{s:s, s:{s:{s:s, s:i, s:o}}, s:o, s:b, s:b}", "quant_method", "torchao",
                  "quant_type", "default", "_type",
                  per_token ? "Int8DynamicActivationInt8WeightConfig" : "Int8WeightOnlyConfig",
                  "_version", 2, "_data", data, "modules_to_not_convert", floats,
                  "include_input_output_embeddings", 0, "untie_embedding_weights", 0);
    json_object_update(out, values);
    json_decref(values);
    return SHOAL_OK;
}

const shoal_writer shoal_writer_torchao_int8 = {.name = "torchao-int8",
                                                .form = form_of,
                                                .parts = parts_of,
                                                .pack = pack,
                                                .config = config,
                                                .metadata = metadata};
