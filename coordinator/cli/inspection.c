#include "coordinator/cli/inspection.h"

#include <stdio.h>

static shoal_status open_manifest(shoal_inspection *i)
{
    const shoal_manifest_options options = {shoal_option_text(i->options, SHOAL_OPT_QUANTIZE),
                                            shoal_option_text(i->options, SHOAL_OPT_KEEP)};
    SHOAL_TRY(shoal_model_open(i->path, &i->model));
    return shoal_manifest_create(i->model, i->checkpoint, &options, &i->manifest);
}

static void own(shoal_inspection *i, const shoal_weight *weight, const shoal_tensor *tensor)
{
    if (!tensor)
        return;
    const size_t at = shoal_checkpoint_index(i->checkpoint, tensor);
    if (i->owners[at]) /* a tied lm_head is the embedding */
        return;
    i->owners[at] = weight;
    i->roles[at] = shoal_role_name(weight->role);
}

static void own_weight(shoal_inspection *i, const shoal_weight *weight)
{
    if (!weight->present)
        return;
    for (int p = 0; p < SHOAL_PARTS_MAX; p++)
        own(i, weight, weight->parts[p]);
    own(i, weight, weight->bias);
}

/* A folder whose tensors can be listed is listed, even when no model can be made of it. */
static shoal_status open_model(shoal_inspection *i)
{
    void *array;
    SHOAL_TRY(shoal_checkpoint_open(i->path, &i->checkpoint));
    const size_t count = shoal_checkpoint_count(i->checkpoint);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *i->owners, &array));
    i->owners = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *i->roles, &array));
    i->roles = array;
    i->problem = open_manifest(i);
    (void)snprintf(i->sentence, sizeof i->sentence, "%s", shoal_error_text());
    if (i->problem != SHOAL_OK)
        return SHOAL_OK;
    for (size_t w = 0; w < shoal_manifest_count(i->manifest); w++)
        own_weight(i, shoal_manifest_at(i->manifest, w));
    return SHOAL_OK;
}

void shoal_inspection_close(shoal_inspection *i)
{
    shoal_free(i->owners);
    shoal_free(i->roles);
    if (i->manifest)
        shoal_manifest_destroy(i->manifest);
    if (i->model)
        shoal_model_close(i->model);
    if (i->checkpoint)
        shoal_checkpoint_close(i->checkpoint);
}

shoal_status shoal_inspection_need(const shoal_inspection *i)
{
    return i->problem == SHOAL_OK ? SHOAL_OK : shoal_fail(i->problem, "%s", i->sentence);
}

const char *shoal_inspection_dialect(const shoal_weight *owner)
{
    return owner && owner->dialect ? owner->dialect->name : NULL;
}

shoal_status shoal_inspection_open(const shoal_options *options, const char *path,
                                   shoal_inspection *out)
{
    *out = (shoal_inspection){.options = options, .path = path};
    return open_model(out);
}
