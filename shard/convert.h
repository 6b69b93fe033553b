/* shard/convert.h - a model folder in one stored form to a model folder in another.
 *
 * source manifest -> per module a canonical form (shard/writer.h) -> safetensors files, index,
 * config.json, tokenizer files. Streams: in memory are the tensors of one module and some strips
 * per thread. The destination appears complete or not at all; a conversion that was killed goes on
 * with the first file that is not finished (shard/convert_folder.h). The ledger is kept on both
 * sides: every source tensor is consumed or known to be ignorable (shard/manifest.h), every
 * declared byte is written, and what was written is opened again and compared with the source's
 * headers: the same modules, the same biases.
 *
 * gguf:TYPE writes one file instead (shard/convert_gguf.h), not to be gone on with. */
#ifndef SHOAL_SHARD_CONVERT_H
#define SHOAL_SHARD_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/reform.h"

typedef struct {
    const char *source, *destination;
    shoal_target target;
    const char *quantize, *keep; /* as shoal_manifest_options */
    uint64_t file_bytes;         /* a file ends before it grows beyond this */
    int threads;
    bool backup; /* destination may be the source, which is kept as DST.backup */
} shoal_convert_request;

/* Called now and then, and once per tensor or module with its loss. */
typedef struct {
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void (*tell)(void *context, const char *name, const shoal_loss *loss);
    void *context;
} shoal_convert_listener;

typedef struct {
    uint64_t consumed, written; /* tensors of the source, of the destination */
    uint64_t bytes;             /* written */
    uint64_t read;              /* bytes of the source's tensors, whatever was read twice twice */
    uint64_t largest;           /* bytes of the largest tensor on either side */
    double sync_seconds;        /* spent on waiting until the disk has the files */
    int files, resumed;         /* files; those that were there from an earlier run */
    shoal_loss loss;
} shoal_convert_result;

SHOAL_MUST_USE shoal_status shoal_convert(const shoal_convert_request *request,
                                          const shoal_convert_listener *listener,
                                          shoal_convert_result *out);

#endif
