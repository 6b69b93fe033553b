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

static shoal_status compare_weights(const shoal_manifest *source, const char *from,
                                    const shoal_manifest *written, const char *path)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    const size_t count = shoal_manifest_count(source);
    if (count != shoal_manifest_count(written))
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s has %zu weights, %s %zu", path,
                          shoal_manifest_count(written), from, count);
    for (size_t i = 0; i < count; i++) {
        const shoal_weight *a = shoal_manifest_at(source, i);
        const shoal_weight *b = shoal_manifest_at(written, i);
        if (a->present == b->present && !a->bias == !b->bias && a->n == b->n && a->k == b->k)
            continue;
        shoal_weight_name(source, a, name, sizeof name);
        return shoal_fail(SHOAL_ERR_INTERNAL, "%s is not in %s as it is in %s", name, path, from);
    }
    return SHOAL_OK;
}

shoal_status shoal_convert_read_back(const shoal_convert_source *source, const char *from,
                                     const char *path)
{
    shoal_convert_source written = {0};
    shoal_status st = shoal_convert_source_open(path, NULL, NULL, &written);
    if (st == SHOAL_OK)
        st = compare_weights(source->manifest, from, written.manifest, path);
    shoal_convert_source_close(&written);
    return st == SHOAL_OK ? st : shoal_fail_within(st, "reading back what was written");
}
