/* shard/manifest.h - which tensors of a checkpoint make which weight of the model, in which
 * dialect.
 *
 * The manifest joins model and checkpoint before any weight is read: every weight a layer needs
 * has its source tensors, with dtypes and shapes checked against the model, and every tensor of
 * the checkpoint is claimed by a weight, known to be ignorable, or an error that names it (the
 * ledger: a lost bias is impossible). Roles and module names come from the family's row in
 * shard/roles.c; how bytes become canonical blocks is a dialect's row in shard/dialect.c. */
#ifndef SHOAL_SHARD_MANIFEST_H
#define SHOAL_SHARD_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"
#include "kernels/linear.h"
#include "shard/checkpoint.h"
#include "shard/model.h"

typedef enum {
    SHOAL_ROLE_Q,
    SHOAL_ROLE_K,
    SHOAL_ROLE_V,
    SHOAL_ROLE_O,
    SHOAL_ROLE_GATE,
    SHOAL_ROLE_UP,
    SHOAL_ROLE_DOWN,
    SHOAL_ROLE_LAYER_LINEARS, /* the seven above: linears of a layer */
    SHOAL_ROLE_INPUT_NORM = SHOAL_ROLE_LAYER_LINEARS,
    SHOAL_ROLE_MLP_NORM,
    SHOAL_ROLE_Q_NORM,
    SHOAL_ROLE_K_NORM,
    SHOAL_ROLE_AFTER_ATTENTION_NORM,
    SHOAL_ROLE_AFTER_MLP_NORM,
    SHOAL_ROLE_LAYER_ALL, /* linears and vectors of a layer */
    SHOAL_ROLE_EMBEDDING = SHOAL_ROLE_LAYER_ALL,
    SHOAL_ROLE_FINAL_NORM,
    SHOAL_ROLE_LM_HEAD,
    SHOAL_ROLE_COUNT,
    /* of layers of experts, see shoal_expert_set */
    SHOAL_ROLE_ROUTER = SHOAL_ROLE_COUNT, /* which experts a row goes through        */
    SHOAL_ROLE_SHARED_ROUTER,             /* how much of the shared one it gets      */
    SHOAL_ROLE_NAMES
} shoal_role;

/* Does a weight of this role choose experts? */
static inline bool shoal_role_routes(shoal_role role)
{
    return role == SHOAL_ROLE_ROUTER || role == SHOAL_ROLE_SHARED_ROUTER;
}

/* What an expert is made of: gate, up and down. */
#define SHOAL_EXPERT_LINEARS 3

/* shoal_weight.expert of the shared expert. */
#define SHOAL_EXPERT_SHARED (-1)

/* "q_proj", "input_layernorm", … : the word used in messages and reports. */
const char *shoal_role_name(shoal_role role);

typedef struct shoal_dialect shoal_dialect;       /* shard/dialect.h */
typedef struct shoal_roles_part shoal_roles_part; /* shard/roles.h */

#define SHOAL_PARTS_MAX 8

/* Where a weight lies while steps run (shard/offload.h). */
typedef enum {
    SHOAL_PLACED_HOST,
    SHOAL_PLACED_PINNED,
    SHOAL_PLACED_STREAMED,
    SHOAL_PLACED_FREE /* host, or streamed where the plan says so */
} shoal_placement;

/* One weight of the model and where it comes from. n = outputs, k = inputs. For vectors (norms)
 * and the embedding only `parts[0]` counts. */
typedef struct {
    shoal_role role;
    int layer;  /* -1 outside layers */
    int expert; /* 1 + its index; 0: of no expert; or SHOAL_EXPERT_SHARED */
    bool present;
    const shoal_dialect *dialect;
    const shoal_tensor *parts[SHOAL_PARTS_MAX]; /* meaning: the dialect's                     */
    const shoal_tensor *bias;                   /* NULL: none                                 */
    int64_t n, k;
    int64_t row_offset;     /* first row inside a stacked module, else 0                      */
    int64_t run, period;    /* its rows come in runs, one every `period` rows; 0: all at once */
    shoal_weight_kind kind; /* after quantize-at-load                                         */
    shoal_dtype dtype;      /* elements (float) or scales (integers) as they are stored packed */
    int64_t group;          /* weight group along k; k itself for per channel                 */
    int64_t super_group;    /* inputs under one scale of the upper level (K-quants); 0: none   */
    bool has_zeros, has_mins;
    int16_t zero_const;
    bool act_order; /* K is walked in the order sorted by g_idx                             */
    bool per_token; /* W8A8: one activation scale per row (q,k,v,gate,up) or unit (o,down)  */
    const shoal_tensor *input_scale; /* [k]: the input is divided by it first; NULL: none   */
    bool input_multiply;             /* ... multiplied                                      */
    int variant;                     /* which of the dialect's forms: its own number        */
    bool quantized_at_load;
    int bits;         /* 4, 8, or 16/32 for floats: as the file has it                    */
    int source_group; /* as the file says (-1 per channel); 0 for floats                  */
    shoal_placement placement;
} shoal_weight;

/* The weights that take the place of gate, up and down in a layer of experts. */
typedef struct {
    shoal_weight router;        /* [experts][hidden] */
    shoal_weight shared_router; /* [1][hidden]; present where there is a shared expert */
    shoal_weight *linears;      /* [count][SHOAL_EXPERT_LINEARS] */
    int count;                  /* experts, and the shared one after them; 0 in a dense layer */
} shoal_expert_set;

typedef struct {
    const shoal_model *model;           /* borrowed */
    const shoal_checkpoint *checkpoint; /* borrowed */
    const shoal_roles_part *part;       /* where in it the model lies */
    shoal_weight *layers;               /* [layer_count][SHOAL_ROLE_LAYER_ALL] */
    shoal_weight globals[SHOAL_ROLE_COUNT - SHOAL_ROLE_LAYER_ALL];
    shoal_expert_set *experts;   /* [layer_count] */
    const shoal_weight **places; /* [place_count]: all of these in the order of a walk */
    size_t place_count;
    char method[32]; /* shoal_method_name() of what the quantization config says in general */
    shoal_arena *arena;
} shoal_manifest;

/* What the user asked for on the command line. */
typedef struct {
    const char *quantize;   /* NULL, "int4-g128", "int4-g64", "int4-g32", "int8"          */
    const char *keep_regex; /* POSIX extended; linears whose module name matches stay dense */
} shoal_manifest_options;

SHOAL_MUST_USE shoal_status shoal_manifest_create(const shoal_model *model,
                                                  const shoal_checkpoint *checkpoint,
                                                  const shoal_manifest_options *options,
                                                  shoal_manifest **out);
void shoal_manifest_destroy(shoal_manifest *manifest);

/* A weight; `layer` is ignored for global roles. Never NULL; see `present`. */
const shoal_weight *shoal_manifest_weight(const shoal_manifest *manifest, int layer,
                                          shoal_role role);

/* The row of the module that holds output `n`. */
static inline int64_t shoal_weight_row(const shoal_weight *weight, int64_t n)
{
    if (weight->run == 0)
        return weight->row_offset + n;
    return weight->row_offset + n / weight->run * weight->period + n % weight->run;
}

/* Every place for a weight there is, one after the other: the embedding, the layers with all their
 * roles and experts, what comes behind them. Many are not `present`. */
size_t shoal_manifest_count(const shoal_manifest *manifest);
const shoal_weight *shoal_manifest_at(const shoal_manifest *manifest, size_t index);

/* Note all places: the last step of making a manifest. */
SHOAL_MUST_USE shoal_status shoal_manifest_list(shoal_manifest *manifest);

/* Gate, up or down of an expert; `expert` counts as in shoal_expert_set. */
static inline const shoal_weight *shoal_expert_weight(const shoal_expert_set *set, int expert,
                                                      shoal_role role)
{
    return &set->linears[expert * SHOAL_EXPERT_LINEARS + (int)(role - SHOAL_ROLE_GATE)];
}

/* The weight of another role of the same layer and expert. */
const shoal_weight *shoal_manifest_sibling(const shoal_manifest *manifest,
                                           const shoal_weight *weight, shoal_role role);

/* What stands for all layers in reports: layer 0's weight of a role, with gate, up and down of its
 * first expert where it has experts; or lm_head. */
const shoal_weight *shoal_manifest_example(const shoal_manifest *manifest, shoal_role role);

/* Full module or tensor name of a weight ("model.layers.3.mlp.down_proj") into `out`: the name on
 * the Hugging Face hub, of a GGUF file, too. */
void shoal_weight_name(const shoal_manifest *manifest, const shoal_weight *weight, char *out,
                       size_t room);

/* A rectangle of a weight: columns [n_begin, n_end) and inputs [k_begin, k_end). `columns`, when
 * not NULL, holds n_end - n_begin source columns to take instead (a permuted slice). For an
 * act-order weight k counts in sorted order and `order` is its permutation, from
 * shoal_weight_order; NULL otherwise. */
typedef struct {
    int64_t n_begin, n_end, k_begin, k_end;
    const int32_t *columns;
    const int32_t *order;
} shoal_rect;

/* Does the rectangle hold any weight? */
static inline bool shoal_rect_empty(const shoal_rect *rect)
{
    return rect->n_end <= rect->n_begin || rect->k_end <= rect->k_begin;
}

/* Bytes that reading this rectangle takes from the checkpoint: exactly what shoal_weight_read
 * will add to the count (bias not included). */
uint64_t shoal_weight_read_bytes(const shoal_weight *weight, const shoal_rect *rect);

/* Does the rectangle lie inside the weight, its columns and order too? SHOAL_ERR_INTERNAL if not.
 */
SHOAL_MUST_USE shoal_status shoal_weight_check(const shoal_weight *weight, const shoal_rect *rect);

/* Read a rectangle into a canonical block allocated from `arena`. Checks scales (NaN and infinity
 * are SHOAL_ERR_DATA naming tensor, row and group). */
SHOAL_MUST_USE shoal_status shoal_weight_read(const shoal_manifest *manifest,
                                              const shoal_weight *weight, const shoal_rect *rect,
                                              shoal_arena *arena, shoal_canonical *out);

/* What the groups have of it, without a code; a plain rectangle of integers. */
SHOAL_MUST_USE shoal_status shoal_weight_read_groups(const shoal_manifest *manifest,
                                                     const shoal_weight *weight,
                                                     const shoal_rect *rect, shoal_arena *arena,
                                                     shoal_canonical *out);

/* The order in which an act-order weight walks K: order[i] = source k of sorted position i; a
 * stable sort by group. Reads g_idx. `order` has k elements. */
SHOAL_MUST_USE shoal_status shoal_weight_order(const shoal_manifest *manifest,
                                               const shoal_weight *weight, int32_t *order);

/* Elements [begin, end) of a vector (norm, bias) widened to fp32; `columns` as in shoal_rect. */
SHOAL_MUST_USE shoal_status shoal_vector_read(const shoal_manifest *manifest,
                                              const shoal_tensor *tensor, int64_t begin,
                                              int64_t end, const int32_t *columns, float *out);
uint64_t shoal_vector_read_bytes(const shoal_tensor *tensor, int64_t begin, int64_t end,
                                 const int32_t *columns);

/* Bytes that the input scale of a rectangle takes from the checkpoint; 0 where there is none. */
uint64_t shoal_weight_input_scale_bytes(const shoal_weight *weight, const shoal_rect *rect);

/* The same of the bias of a rectangle's columns, whose rows may not follow each other; 0 where
 * there is none. */
uint64_t shoal_weight_bias_bytes(const shoal_weight *weight, const shoal_rect *rect);

#endif
