/* shard/writer_lmdeploy.c - lmdeploy's SmoothQuant form: MODULE.weight i8 [n][k], MODULE.scale fp32
 * [n][1], every linear of a layer. lmdeploy computes with int8 activations per token. */
#include <jansson.h>

#include "shard/writer.h"

enum { WEIGHT, SCALE };

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *m,
                            shoal_form *form)
{
    const bool fits = shoal_form_per_channel(m, form);
    if (m->weights[0]->role == SHOAL_ROLE_LM_HEAD) {
        form->requantized = false;
        return shoal_writer_refuse(target, m, "lmdeploy leaves lm_head in floats");
    }
    if (!fits)
        return shoal_writer_refuse(target, m, "lmdeploy has one scale per output");
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *m,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    (void)form;
    parts[WEIGHT] = (shoal_part){".weight", SHOAL_I8, 2, {m->n, m->k}};
    parts[SCALE] = (shoal_part){".scale", SHOAL_F32, 2, {m->n, 1}};
    return 2;
}

static shoal_status pack(const shoal_strip *s)
{
    shoal_strip_signed(s, s->parts[WEIGHT]);
    shoal_strip_scales(s, false, s->parts[SCALE]);
    return SHOAL_OK;
}

static shoal_status config(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, json_t *out)
{
    (void)target;
    json_t *floats = shoal_float_linears(modules, count);
    json_object_set_new(out, "quant_method", json_string("smooth_quant"));
    json_object_set_new(out, "quant_dtype", json_string("int8"));
    if (json_array_size(floats) > 0)
        json_object_set(out, "modules_to_not_convert", floats);
    json_decref(floats);
    return SHOAL_OK;
}

const shoal_writer shoal_writer_lmdeploy = {
    .name = "lmdeploy", .form = form_of, .parts = parts_of, .pack = pack, .config = config};
