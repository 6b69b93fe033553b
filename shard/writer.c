/* shard/writer.c - the table of writers, and what they share. See writer.h. */
#include "shard/writer.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/nibbles.h"
#include "proto/bytes.h"

/* Scales that are turned together. */
#define GROUPS  16
#define COLUMNS 64

static const shoal_writer *const table[] = {
    &shoal_writer_gptq,          &shoal_writer_gptq_v2,
    &shoal_writer_awq,           &shoal_writer_compressed,
    &shoal_writer_marlin,        &shoal_writer_torchao_int8,
    &shoal_writer_torchao_tiled, &shoal_writer_torchao_cpu,
    &shoal_writer_lmdeploy,      &shoal_writer_hf,
    &shoal_writer_pack,          &shoal_writer_gguf,
};

#define ROWS (sizeof table / sizeof table[0])

void shoal_target_words(char *out, size_t room)
{
    size_t at = 0;
    for (size_t i = 0; i < ROWS && at < room; i++) {
        const char *arguments = table[i]->arguments;
        at += (size_t)snprintf(out + at, room - at, "%s%s%s", i ? ", " : "", table[i]->name,
                               arguments ? ":" : "");
        for (const char *c = arguments; c && *c && at + 1 < room; c++)
            at += (size_t)snprintf(out + at, room - at, "%c", *c == ' ' ? '|' : *c);
    }
}

/* Is `word` one of those in `words`, separated by spaces? */
static bool is_among(const char *word, size_t length, const char *words)
{
    while (words && *words) {
        const size_t here = strcspn(words, " ");
        if (here == length && strncmp(words, word, length) == 0)
            return true;
        words += here + (words[here] == ' ');
    }
    return false;
}

shoal_status shoal_target_parse(const char *word, shoal_target *out)
{
    char words[512];
    const size_t length = strcspn(word, ":");
    const char *argument = word[length] ? word + length + 1 : "";
    for (size_t i = 0; i < ROWS; i++) {
        const shoal_writer *writer = table[i];
        const bool named =
            strlen(writer->name) == length && strncmp(writer->name, word, length) == 0;
        const bool fits = writer->arguments
                              ? is_among(argument, strlen(argument), writer->arguments)
                              : word[length] == '\0';
        if (!named || !fits || strlen(argument) >= sizeof out->argument)
            continue;
        *out = (shoal_target){.writer = writer};
        (void)snprintf(out->argument, sizeof out->argument, "%s", argument);
        return SHOAL_OK;
    }
    shoal_target_words(words, sizeof words);
    return shoal_fail(SHOAL_ERR_USAGE, "--to %.60s is not a form that is written; these are: %s",
                      word, words);
}

shoal_status shoal_writer_refuse(const shoal_target *target, const shoal_writer_module *module,
                                 const char *fmt, ...)
{
    char why[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    return shoal_fail(SHOAL_ERR_DATA, "%s as %s%s%s cannot be held: %s", module->name,
                      target->writer->name, target->argument[0] ? ":" : "", target->argument, why);
}

shoal_form shoal_form_of(const shoal_writer_module *module, int bits)
{
    const shoal_weight *w = module->weights[0];
    const int16_t middle = (int16_t)(1 << (bits - 1));
    return (shoal_form){
        .kind = bits > 4 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4,
        .bits = bits,
        .group = w->group,
        .has_zeros = !module->symmetric || module->bits != bits,
        .zero = middle,
        .dtype = w->dtype,
        .act_order = w->act_order,
    };
}

shoal_form shoal_form_float(const shoal_writer_module *m, shoal_dtype dtype)
{
    return (shoal_form){.kind = SHOAL_WEIGHT_FLOAT,
                        .bits = (int)shoal_dtype_bits(dtype),
                        .group = m->k,
                        .dtype = dtype};
}

shoal_form shoal_form_requantized(int bits, int64_t group, shoal_dtype dtype)
{
    return (shoal_form){
        .kind = bits > 4 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4,
        .bits = bits,
        .group = group,
        .zero = (int16_t)(1 << (bits - 1)),
        .dtype = dtype,
        .requantized = true,
    };
}

bool shoal_form_per_channel(const shoal_writer_module *m, shoal_form *form)
{
    const shoal_weight *w = m->weights[0];
    *form = shoal_form_requantized(8, m->k, SHOAL_F32);
    if (w->group < m->k || m->has_mins || w->act_order)
        return false;
    form->requantized = false;
    form->recentred = true;
    return true;
}

void shoal_strip_signed(const shoal_strip *strip, uint8_t *part)
{
    const shoal_canonical *b = strip->block;
    uint8_t *out = part + strip->column * b->k;
    for (int64_t i = 0; i < b->n * b->k; i++)
        out[i] = b->codes[i] ^ 0x80;
}

json_t *shoal_float_linears(const shoal_written_module *modules, size_t count)
{
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++) {
        const shoal_writer_module *m = &modules[i].module;
        if (modules[i].form.kind == SHOAL_WEIGHT_FLOAT && shoal_writer_is_linear(m) &&
            m->weights[0]->role != SHOAL_ROLE_LM_HEAD)
            json_array_append_new(names, json_string(m->name));
    }
    return names;
}

shoal_status shoal_strip_codes(const shoal_strip *strip, const uint8_t **codes, void **copy)
{
    const shoal_canonical *b = strip->block;
    *copy = NULL;
    *codes = b->codes;
    if (!strip->order)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)b->n, (uint64_t)b->k, copy));
    uint8_t *natural = *copy;
    for (int64_t n = 0; n < b->n; n++)
        for (int64_t k = 0; k < b->k; k++)
            natural[n * b->k + strip->order[k]] = b->codes[n * b->k + k];
    *codes = natural;
    return SHOAL_OK;
}

void shoal_strip_scales(const shoal_strip *strip, bool along_n, uint8_t *part)
{
    const shoal_canonical *b = strip->block;
    const shoal_dtype dtype = strip->form->dtype;
    const int64_t size = (int64_t)shoal_dtype_bytes(dtype);
    float turned[GROUPS][COLUMNS];
    if (!along_n) {
        shoal_narrow_f32(b->scales, dtype, (size_t)(b->n * b->groups),
                         part + strip->column * b->groups * size);
        return;
    }
    for (int64_t n = 0; n < b->n; n += COLUMNS)
        for (int64_t g = 0; g < b->groups; g += GROUPS) {
            const int64_t columns = shoal_min_i64(COLUMNS, b->n - n);
            const int64_t groups = shoal_min_i64(GROUPS, b->groups - g);
            shoal_nibbles_best()->turn_words((const uint8_t *)(b->scales + n * b->groups + g),
                                             4 * b->groups, columns, groups, (uint8_t *)turned[0],
                                             sizeof turned[0]);
            for (int64_t i = 0; i < groups; i++)
                shoal_narrow_f32(turned[i], dtype, (size_t)columns,
                                 part + ((g + i) * strip->module->n + strip->column + n) * size);
        }
}

int64_t shoal_form_usual_group(const shoal_written_module *modules, size_t count)
{
    int64_t declared = -1;
    for (size_t i = 0; i < count; i++) {
        const shoal_written_module *m = &modules[i];
        if (m->form.kind == SHOAL_WEIGHT_FLOAT)
            continue;
        if (m->form.group < m->module.k)
            return m->form.group;
        declared = m->module.weights[0]->source_group;
    }
    return declared > 0 ? declared : -1;
}

bool shoal_form_has_group(const shoal_written_module *module, int64_t group)
{
    const int64_t k = module->module.k;
    return module->form.group == (group < 0 || group > k ? k : group);
}

int64_t shoal_form_groups(const shoal_form *form, const shoal_writer_module *module)
{
    return shoal_ceil_div(module->k, form->group);
}

void shoal_store_float(void *array, shoal_dtype dtype, size_t index, float value)
{
    const uint16_t half =
        dtype == SHOAL_BF16 ? shoal_bf16_from_f32(value) : shoal_f16_from_f32(value);
    if (dtype == SHOAL_F32)
        memcpy((char *)array + 4 * index, &value, 4);
    else
        memcpy((char *)array + 2 * index, &half, 2);
}

void shoal_packed_put(uint8_t *words, int64_t stride, int64_t index, int bits, unsigned value)
{
    const int64_t bit = index * bits, word = bit / 32;
    const int shift = (int)(bit % 32);
    const uint64_t field = (uint64_t)value << shift;
    uint8_t *at = words + word * stride * 4;
    shoal_store_le32(at, shoal_load_le32(at) | (uint32_t)field);
    if (shift + bits > 32) {
        at += stride * 4;
        shoal_store_le32(at, shoal_load_le32(at) | (uint32_t)(field >> 32));
    }
}
