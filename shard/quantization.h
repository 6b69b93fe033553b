/* shard/quantization.h - what a checkpoint's quantization config says: in general, and of one
 * module.
 *
 * The text is the object under "quantization_config" of config.json, or a whole
 * quantize_config.json. Old and new key names mean the same (w_bit, q_group_size, checkpoint_format
 * and format, quant_method and method). What the config asks for and no dialect can read is an
 * error here. Which module is quantized at all is found from its tensors, but one that a rule
 * leaves in floating point must be stored so. */
#ifndef SHOAL_SHARD_QUANTIZATION_H
#define SHOAL_SHARD_QUANTIZATION_H

#include <stdbool.h>

#include "shard/int4_packing.h"

typedef enum {
    SHOAL_METHOD_NONE,
    SHOAL_METHOD_GPTQ,
    SHOAL_METHOD_AWQ,
    SHOAL_METHOD_COMPRESSED, /* compressed-tensors */
    SHOAL_METHOD_SMOOTH_QUANT,
    SHOAL_METHOD_TORCHAO,
} shoal_method;

/* How GPTQ stores zero points (v1 stores z - 1). */
typedef enum {
    SHOAL_ZEROS_PLAIN,          /* v2, AWQ: the field is z                                */
    SHOAL_ZEROS_MINUS_ONE,      /* v1: each field is (z - 1) cut to its bits              */
    SHOAL_ZEROS_MINUS_ONE_WORD, /* v1 by GPTQModel >= 0.9: the whole word had 0x1..1 taken */
} shoal_zeros_rule;

/* Which of a method's layouts the config names. */
typedef enum {
    SHOAL_LAYOUT_PLAIN,  /* the method's own: gptq, awq gemm */
    SHOAL_LAYOUT_MARLIN, /* gptq and awq */
    SHOAL_LAYOUT_GEMV,
    SHOAL_LAYOUT_GEMV_FAST,
    SHOAL_LAYOUT_PACKED, /* compressed-tensors: codes in words */
    SHOAL_LAYOUT_BYTES,  /* compressed-tensors: a byte per code */
} shoal_stored_layout;

/* What a scale per input (lmdeploy's migration_scale) does to the input of a linear. */
typedef enum {
    SHOAL_INPUT_DIVIDE,   /* x / scale: the weights hold it, the norm before does not       */
    SHOAL_INPUT_MULTIPLY, /* x * scale: it is the inverse                                   */
    SHOAL_INPUT_IGNORE,   /* nothing: it is in weights and norm and stored to be looked at  */
} shoal_input_rule;

typedef struct {
    shoal_method method;
    int bits;       /* 2, 3, 4, 8                                                       */
    int group;      /* > 0, or -1: one group for all of K                               */
    bool symmetric; /* zeros are the middle of the range everywhere                     */
    bool desc_act;  /* as the file says                                                 */
    bool act_order; /* K is walked in g_idx order: desc_act, grouped, not static groups */
    shoal_zeros_rule zeros;
    shoal_stored_layout layout;
    bool per_token; /* activations take one int8 scale per token, found while running   */
    bool left_out;  /* the config leaves this module dense; the method is NONE           */
    shoal_input_rule input_rule;
    shoal_int4_order cpu_order; /* torchao: how a CPU packed int4; unknown unless the key says */
} shoal_quantization;

/* "none", or the config's word: "gptq", "awq", "compressed-tensors", ... */
const char *shoal_method_name(shoal_method method);

/* A whole config: rules for modules by name, and what holds for all others. */
typedef struct shoal_quantization_config shoal_quantization_config;

/* Read `json`; NULL is a checkpoint without quantization. SHOAL_ERR_DATA names the key, its value
 * and what is read. Free the result with shoal_quantization_close(). */
SHOAL_MUST_USE shoal_status shoal_quantization_open(const char *json,
                                                    shoal_quantization_config **out);
void shoal_quantization_close(shoal_quantization_config *config);

/* What it says in general. */
const shoal_quantization *shoal_quantization_general(const shoal_quantization_config *config);

/* What it says of one module ("model.layers.0.mlp.down_proj"); *out lives as long as the config.
 * SHOAL_ERR_DATA when the patterns of rules have taken too long by now. */
SHOAL_MUST_USE shoal_status shoal_quantization_of(shoal_quantization_config *config,
                                                  const char *module,
                                                  const shoal_quantization **out);

/* What `json` says in general, without a config to close. */
SHOAL_MUST_USE shoal_status shoal_quantization_parse(const char *json, shoal_quantization *out);

#endif
