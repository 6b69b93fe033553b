/* shard/writer_hf.c - plain Hugging Face floats: MODULE.weight [n][k] of one dtype, no quantization
 * config. Integers become numbers, floats of another dtype are rounded. */
#include <string.h>

#include "shard/writer.h"

static shoal_dtype dtype_of(const shoal_target *target)
{
    if (strcmp(target->argument, "bf16") == 0)
        return SHOAL_BF16;
    return strcmp(target->argument, "f16") == 0 ? SHOAL_F16 : SHOAL_F32;
}

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *module,
                            shoal_form *form)
{
    *form = shoal_form_float(module, dtype_of(target));
    return SHOAL_OK;
}

const shoal_writer shoal_writer_hf = {.name = "hf",
                                      .arguments = "bf16 f16 f32",
                                      .any_zeros = true,
                                      .keeps_minimums = true,
                                      .writes_floats = true,
                                      .form = form_of};
