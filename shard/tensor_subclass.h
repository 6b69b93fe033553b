/* shard/tensor_subclass.h - what a checkpoint says of a tensor that is really several: a quantized
 * tensor class of torchao and its attributes.
 *
 * Whatever the container, the parts of "mod.weight" are tensors of their own, named as torchao
 * names them in safetensors: "mod._weight_qdata", "mod._weight_scale", ... Each of them points to
 * this description; which parts a class has and what they mean is for shard/dialect_torchao*.c. */
#ifndef SHOAL_SHARD_TENSOR_SUBCLASS_H
#define SHOAL_SHARD_TENSOR_SUBCLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    SHOAL_ZERO_DOMAIN_UNSAID,
    SHOAL_ZERO_DOMAIN_INT,   /* w = (q - zero) * scale            */
    SHOAL_ZERO_DOMAIN_FLOAT, /* w = (q - middle) * scale + zero   */
    SHOAL_ZERO_DOMAIN_NONE,  /* w = q * scale                     */
} shoal_zero_domain;

typedef struct {
    const char *name; /* of the tensor it stands for, "mod.weight"              */
    const char *type; /* class of the innermost object, "PlainAQTTensorImpl"    */
    int rank;
    int64_t shape[2]; /* of the tensor it stands for; rank 2               */
    int64_t block[2]; /* elements that share a scale; 0: not said          */
    int64_t quant_min, quant_max;
    bool has_range; /* the two above are said                                           */
    shoal_zero_domain domain;
    bool per_token; /* activations are to be int8 with one scale per token          */
} shoal_tensor_subclass;

/* Name of a part: "mod.weight" and "qdata" make "mod._weight_qdata"; without a part, what all parts
 * begin with. `part` has `bytes` bytes. False where there is no room. */
bool shoal_subclass_part_name(const char *tensor, const char *part, size_t bytes, char *out,
                              size_t room);

#endif
