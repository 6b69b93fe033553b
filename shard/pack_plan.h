/* shard/pack_plan.h - what goes into a pack file: its tensors, their runs, its texts, its header.
 */
#ifndef SHOAL_SHARD_PACK_PLAN_H
#define SHOAL_SHARD_PACK_PLAN_H

#include "shard/convert_plan.h"
#include "shard/pack_format.h"
#include "shard/plan.h"

struct json_t;

typedef enum {
    SHOAL_PACKED_RUNS,   /* MODULE.pack                               */
    SHOAL_PACKED_ORDER,  /* MODULE.pack_order                         */
    SHOAL_PACKED_ROWS,   /* float matrix as it is, a run per row      */
    SHOAL_PACKED_VECTOR, /* norm or bias as it is, one run            */
} shoal_packed_kind;

typedef struct {
    shoal_packed_kind kind;
    const char *name;
    const shoal_writer_module *module; /* all but vectors */
    const shoal_tensor *vector;
    float added;              /* in the source, and not in the file: of norms */
    shoal_pack_linear linear; /* RUNS */
    shoal_dtype dtype;
    int rank;
    int64_t shape[2];
    uint64_t bytes, run_bytes, runs;
    uint64_t offset; /* in the file */
    uint64_t digest; /* index of its first */
} shoal_pack_entry;

typedef struct {
    char *name, *data;
    uint64_t bytes;
} shoal_pack_blob;

typedef struct {
    shoal_convert_plan *plan; /* borrowed: the modules and vectors of the model */
    shoal_plan_shape shape;
    shoal_pack_entry *entries;
    size_t count;
    shoal_pack_blob *texts;
    size_t text_count;
    uint8_t *digests; /* [digest_count][16], filled while runs are written */
    uint64_t digest_count;
    uint64_t header_bytes, bytes; /* of the header, of the file */
    struct json_t *sources;
    shoal_arena *arena;
} shoal_pack_plan;

/* `source` is where config and tokenizer are found. */
SHOAL_MUST_USE shoal_status shoal_pack_plan_make(shoal_convert_plan *plan, const char *source,
                                                 shoal_pack_plan *out);
void shoal_pack_plan_free(shoal_pack_plan *plan);

/* The header with the digests as they are now, padded: always of header_bytes. Freed with
 * shoal_free. */
SHOAL_MUST_USE shoal_status shoal_pack_header(const shoal_pack_plan *plan, char **out);

#endif
