/* shard/quantization.h - what a checkpoint's quantization config says, in one struct.
 *
 * The text is the object under "quantization_config" of config.json, or a whole
 * quantize_config.json. Old and new key names mean the same (w_bit, q_group_size, checkpoint_format
 * and format, quant_method and method). What the config asks for and no dialect can read is an
 * error here; which module is quantized at all is found from its tensors, not from the config. */
#ifndef SHOAL_SHARD_QUANTIZATION_H
#define SHOAL_SHARD_QUANTIZATION_H

#include <stdbool.h>

#include "shard/int4_packing.h"

typedef enum {
    SHOAL_METHOD_NONE,
    SHOAL_METHOD_GPTQ,
    SHOAL_METHOD_AWQ,
    SHOAL_METHOD_SMOOTH_QUANT,
    SHOAL_METHOD_TORCHAO,
} shoal_method;

/* How GPTQ stores zero points (v1 stores z - 1). */
typedef enum {
    SHOAL_ZEROS_PLAIN,          /* v2, AWQ: the field is z                                */
    SHOAL_ZEROS_MINUS_ONE,      /* v1: each field is (z - 1) cut to its bits              */
    SHOAL_ZEROS_MINUS_ONE_WORD, /* v1 by GPTQModel >= 0.9: the whole word had 0x1..1 taken */
} shoal_zeros_rule;

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
    shoal_input_rule input_rule;
    shoal_int4_order cpu_order; /* torchao: how a CPU packed int4; unknown unless the key says */
} shoal_quantization;

/* "none", "gptq", "awq", ... : the value of quant_method. */
const char *shoal_method_name(shoal_method method);

/* Parse `json`; NULL is a checkpoint without quantization. SHOAL_ERR_DATA names the key, its value
 * and what is read. */
SHOAL_MUST_USE shoal_status shoal_quantization_parse(const char *json, shoal_quantization *out);

#endif
