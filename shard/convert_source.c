/* shard/convert_source.c - see convert_source.h. */
#include "shard/convert_source.h"

shoal_status shoal_convert_source_open(const char *path, const char *quantize, const char *keep,
                                       shoal_convert_source *out)
{
    const shoal_manifest_options options = {quantize, keep};
    SHOAL_TRY(shoal_model_open(path, &out->model));
    SHOAL_TRY(shoal_checkpoint_open(path, &out->checkpoint));
    return shoal_manifest_create(out->model, out->checkpoint, &options, &out->manifest);
}

void shoal_convert_source_close(shoal_convert_source *source)
{
    if (source->manifest)
        shoal_manifest_destroy(source->manifest);
    if (source->checkpoint)
        shoal_checkpoint_close(source->checkpoint);
    if (source->model)
        shoal_model_close(source->model);
}
