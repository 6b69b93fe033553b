/* shard/writer_pack.c - the form of a pack file: whatever the source has. Its tensors are laid out
 * and written by shard/pack_write.c. */
#include "shard/writer.h"

static shoal_status form_of(const shoal_target *target, const shoal_writer_module *module,
                            shoal_form *form)
{
    (void)target;
    if (module->count > 0)
        *form = shoal_form_of(module, module->bits);
    return SHOAL_OK;
}

static int parts_of(const shoal_target *target, const shoal_writer_module *module,
                    const shoal_form *form, shoal_part parts[SHOAL_WRITER_PARTS_MAX])
{
    (void)target;
    (void)form;
    parts[0] = (shoal_part){".pack", SHOAL_U8, 2, {module->n, module->k}};
    return 1;
}

const shoal_writer shoal_writer_pack = {.name = "shoal",
                                        .any_zeros = true,
                                        .keeps_minimums = true,
                                        .writes_floats = true,
                                        .form = form_of,
                                        .parts = parts_of};
