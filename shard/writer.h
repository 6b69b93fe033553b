/* shard/writer.h - the other direction of dialect.h: canonical linears to the tensors of a stored
 * form that other programs load.
 *
 * A writer is one row: which canonical form it can hold of a given source (or a sentence why it
 * cannot), which tensors that makes, how a strip of columns becomes their bytes, and what the
 * quantization config says about it all. What lies between a source and the form (rounding of
 * scales, float zero points, new codes) is the same for all writers: shard/reform.h. To add one:
 * write shard/writer_NAME.c with its row, name it in the table of shard/writer.c.
 *
 * Linears that are float in the source stay MODULE.weight in every form. */
#ifndef SHOAL_SHARD_WRITER_H
#define SHOAL_SHARD_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"
#include "proto/bytes.h"
#include "shard/manifest.h"

struct json_t;

/* Columns of a strip that is packed at once are a multiple of this, but for the last. */
#define SHOAL_WRITER_STRIP 64

/* A linear or the embedding; several linears where they are stacked in one module. They share
 * the stored form; `weights[0]` speaks for it. */
typedef struct {
    const char *name; /* "model.layers.0.self_attn.qkv_proj" */
    const shoal_weight *weights[SHOAL_ROLE_LAYER_LINEARS];
    int count;
    int64_t n, k;   /* n over all of them                                      */
    int bits;       /* that hold every code; of an element where float         */
    bool symmetric; /* every zero point is the middle of the range of `bits`   */
    bool has_mins;  /* and no zero points that would do (shard/whole_zeros.h)  */
} shoal_writer_module;

/* The canonical form of a module as it is written. */
typedef struct {
    shoal_weight_kind kind;
    int bits;
    int64_t group; /* divides the source's group; k for one per channel               */
    bool has_zeros, has_mins;
    int16_t zero;      /* of all where there are no zeros, and where there are minimums */
    shoal_dtype dtype; /* scales and minimums are rounded to it; float kind: elements   */
    bool act_order;    /* codes come in sorted order, with the order                    */
    bool recentred;    /* codes become u - z + zero: any zero points, one width more    */
    bool requantized;  /* codes are made anew from the weights                          */
    const struct shoal_gguf_block *block; /* GGUF: what holds them, and makes new codes */
} shoal_form;

typedef struct shoal_writer shoal_writer;

/* What --to asks for. */
typedef struct shoal_target {
    const shoal_writer *writer;
    char argument[32]; /* "bf16" of "hf:bf16", else "" */
    bool allow_requantize;
    /* Where row `row` of a weight goes, for targets that have another order; NULL: where it is. */
    int64_t (*row)(const struct shoal_target *target, const shoal_weight *weight, int64_t row);
    int64_t head_dim; /* of the model, for `row` */
} shoal_target;

typedef struct {
    const char *suffix; /* ".qweight" */
    shoal_dtype dtype;
    int rank;
    int64_t shape[SHOAL_TENSOR_RANK_MAX];
} shoal_part;

#define SHOAL_WRITER_PARTS_MAX 5

/* One strip of columns on its way. */
typedef struct {
    const shoal_target *target;
    const shoal_writer_module *module;
    const shoal_form *form;
    const shoal_canonical *block; /* [n][k] all inputs, in the form                       */
    int64_t column;               /* of the module, that the block begins with            */
    const int32_t *order;         /* of an act-order form, else NULL                      */
    uint8_t *const *parts;        /* all bytes of every part, zero before the first strip,
                                     but for the first part of writers with `whole_codes`  */
} shoal_strip;

/* A module and what became of it, for the config. */
typedef struct {
    shoal_writer_module module;
    shoal_form form;
    bool has_bias;
} shoal_written_module;

struct shoal_writer {
    const char *name;        /* as --to has it, without the argument                              */
    const char *arguments;   /* allowed ones, separated by spaces; NULL: takes none               */
    const char *config_file; /* holds the quantization config once more; NULL: none             */
    bool any_zeros;          /* does not ask whether zero points are the middle: a look less    */
    bool keeps_minimums;     /* nor whether minimums are zero points                            */
    bool writes_floats;      /* float linears are its own, too ("hf")                             */
    bool packs_floats;       /* ... and pack is asked for them, too                              */
    bool whole_codes;        /* strips store all bytes of the first part, whatever was there     */

    /* The form that holds `module`, which has integers unless `writes_floats`. SHOAL_ERR_DATA with
     * the sentence of shoal_writer_refuse when there is none; where new codes would do,
     * `form->requantized` is true then and the form is what --allow-requantize takes. */
    shoal_status (*form)(const shoal_target *target, const shoal_writer_module *module,
                         shoal_form *form);

    /* The tensors of a module; returns how many. */
    int (*parts)(const shoal_target *target, const shoal_writer_module *module,
                 const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX]);

    /* Write the strip's bytes. Strips of one module are packed at the same time. SHOAL_ERR_DATA
     * where a value shows that the form cannot hold it after all. */
    shoal_status (*pack)(const shoal_strip *strip);

    /* Fill `config`, the quantization config; NULL: the target has none. */
    shoal_status (*config)(const shoal_target *target, const shoal_written_module *modules,
                           size_t count, struct json_t *config);

    /* The value under `name`, a tensor of the model as its program sees it (MODULE.weight,
     * MODULE.bias), in __metadata__; `module` is NULL for tensors that are stored as they are.
     * Beside them stand then their names, as "tensor_names". NULL: no such entries. */
    struct json_t *(*metadata)(const shoal_target *target, const shoal_written_module *module);
};

/* Parse the word behind --to; SHOAL_ERR_USAGE lists the words there are. */
SHOAL_MUST_USE shoal_status shoal_target_parse(const char *word, shoal_target *out);

/* "gptq, gptq_v2, hf:bf16|f16|f32, ..." */
void shoal_target_words(char *out, size_t room);

/* The rows of the table, each in its own file. */
extern const shoal_writer shoal_writer_gptq;
extern const shoal_writer shoal_writer_gptq_v2;
extern const shoal_writer shoal_writer_awq;
extern const shoal_writer shoal_writer_hf;
extern const shoal_writer shoal_writer_pack;
extern const shoal_writer shoal_writer_gguf;
extern const shoal_writer shoal_writer_compressed;
extern const shoal_writer shoal_writer_marlin;
extern const shoal_writer shoal_writer_torchao_int8;
extern const shoal_writer shoal_writer_torchao_tiled;
extern const shoal_writer shoal_writer_torchao_cpu;
extern const shoal_writer shoal_writer_lmdeploy;

/* ---- what writers share ---- */

/* SHOAL_ERR_DATA: "MODULE as TARGET cannot be held: why". */
shoal_status shoal_writer_refuse(const shoal_target *target, const shoal_writer_module *module,
                                 const char *fmt, ...) SHOAL_PRINTF(3, 4);

/* The form that keeps the integers of `module` as they are, with codes of `bits`: zero points only
 * where some are not the middle. */
shoal_form shoal_form_of(const shoal_writer_module *module, int bits);

/* The form of plain numbers. */
shoal_form shoal_form_float(const shoal_writer_module *module, shoal_dtype dtype);

/* The form of new symmetric codes: 4 or 8 bits, natural order. */
shoal_form shoal_form_requantized(int bits, int64_t group, shoal_dtype dtype);

/* The form of int8 per output without zero points: any integers of one group per output. False
 * where `module` is something else; *form is then the requantized one. */
bool shoal_form_per_channel(const shoal_writer_module *module, shoal_form *form);

/* Store the block's codes as signed bytes u - 128, [module n][k]. */
void shoal_strip_signed(const shoal_strip *strip, uint8_t *part);

/* Names of the linears that stay float, but for lm_head: what configs list as not converted. */
struct json_t *shoal_float_linears(const shoal_written_module *modules, size_t count);

/* Codes of a strip in natural order, [n][k]: the block's own, or a copy in *copy, which the caller
 * frees (NULL is fine) in any case. */
SHOAL_MUST_USE shoal_status shoal_strip_codes(const shoal_strip *strip, const uint8_t **codes,
                                              void **copy);

/* Store the block's scales: row-major [groups][module n] where `along_n`, else [module n][groups].
 */
void shoal_strip_scales(const shoal_strip *strip, bool along_n, uint8_t *part);

/* Is the module a linear of the model (and not the embedding)? */
static inline bool shoal_writer_is_linear(const shoal_writer_module *module)
{
    return module->weights[0]->role != SHOAL_ROLE_EMBEDDING;
}

/* Scales of this dtype, or of the source's where it is one of two. */
static inline shoal_dtype shoal_form_half(shoal_dtype dtype)
{
    return dtype == SHOAL_F32 ? SHOAL_F16 : dtype;
}

/* The group size of a config with one for all: -1 for one group per channel. A module with no
 * more inputs than that has one group in any case. */
int64_t shoal_form_usual_group(const shoal_written_module *modules, size_t count);

/* Are the groups of a module those that a config with `group` describes? */
bool shoal_form_has_group(const shoal_written_module *module, int64_t group);

/* Groups along k. */
int64_t shoal_form_groups(const shoal_form *form, const shoal_writer_module *module);

/* Store `value` as element `index` of an array of F32, F16 or BF16. */
void shoal_store_float(void *array, shoal_dtype dtype, size_t index, float value);

/* OR a field of `bits` into a run of words `stride` words apart, lowest bit first; the run is one
 * thread's own. */
void shoal_packed_put(uint8_t *words, int64_t stride, int64_t index, int bits, unsigned value);

/* The zero point of (column n, group g) of a block. */
static inline int shoal_canonical_zero(const shoal_canonical *block, int64_t n, int64_t g)
{
    return block->zeros ? block->zeros[n * block->groups + g] : block->zero_const;
}

#endif
