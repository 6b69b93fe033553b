/* shard/convert_source.h - an open model with the weights of its checkpoint: what is written in
 * another form, and what was written. */
#ifndef SHOAL_SHARD_CONVERT_SOURCE_H
#define SHOAL_SHARD_CONVERT_SOURCE_H

#include "shard/manifest.h"

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} shoal_convert_source;

/* `quantize` and `keep` as shoal_manifest_options. Close it whatever comes back; `out` is {0}
 * before. */
SHOAL_MUST_USE shoal_status shoal_convert_source_open(const char *path, const char *quantize,
                                                      const char *keep, shoal_convert_source *out);
void shoal_convert_source_close(shoal_convert_source *source);

/* Open what was written to `path` as any reader would: it must say what the source at `from` says,
 * weight by weight. */
SHOAL_MUST_USE shoal_status shoal_convert_read_back(const shoal_convert_source *source,
                                                    const char *from, const char *path);

#endif
