/* kernels/backend.h - the table forward.c drives: one filling per kind of device.
 *
 * A step of the model is a handful of fused operations; each is one call, on the CPU one barrier.
 * Arrays live in memory of the backend; row-major, `ld` in elements; `rows` are the tokens of the
 * step, of all sequences together. Every operation obeys docs/arithmetic.md to the bit, so two
 * fillings of the table for the same arithmetic id give the same bytes.
 *
 *   embed      x = embedding rows · scale
 *   norm       x += [norm of](sum of parts + bias); normed x → acts           (rule 6, 2)
 *   whole      y = W·act + bias for several linears (q, k, v; o by columns; lm_head)
 *   attention  q/k norm, rope, append to the pages, attention → acts of o     (rule 5)
 *   cut        unit sums of o or down → this rank's reduce slot               (rule 4)
 *   gated      activation(gate)·up → acts of down
 *   route      scores of experts → which of them a row goes through, and its weights (rule 4)
 *   experts    rows → their experts' gate, up and weighted units of down → the slot  (rule 4)
 *   quantize   rows gathered from several ranks → acts (act-order o)
 *
 * Row errors: an operation that meets a value no cache or quantizer can hold adds 1 to
 * `pending[row]` of this rank; `cut` carries the count into the reduced row's extra element, so
 * that after the reduce every rank knows, and the row ends alone. */
#ifndef SHOAL_KERNELS_BACKEND_H
#define SHOAL_KERNELS_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/act.h"
#include "kernels/cpu.h"
#include "kernels/linear.h"
#include "kernels/threads.h"
#include "proto/dtype.h"
#include "proto/status.h"

/* Positions of one KV page, and of one attention chunk (rule 5). */
#define SHOAL_PAGE  16
#define SHOAL_CHUNK 256

/* Longest head; also keeps an int8 dot product below 2^24, where fp32 is exact. */
#define SHOAL_HEAD_DIM_MAX 1024

typedef enum { SHOAL_KV_F32, SHOAL_KV_F16, SHOAL_KV_INT8 } shoal_kv_type;

/* Pages of one layer on one rank. Page p of kv head h starts at
 * base + (p * kv_heads + h) * shoal_kv_head_bytes; what is in it only kernels/kv.h knows. */
typedef struct {
    uint8_t *base;
    int64_t pages, kv_heads, head_dim;
    shoal_kv_type type;
} shoal_kv_layer;

/* Bytes of one page of one kv head; a multiple of 64. */
uint64_t shoal_kv_head_bytes(shoal_kv_type type, int64_t head_dim);

/* One sequence's part of a step: rows [row, row + rows) are its positions [position, …). */
typedef struct {
    int64_t row, rows, position;
    const int32_t *pages; /* page of positions [16i, 16i + 16); covers position + rows */
} shoal_sequence_rows;

typedef struct {
    const uint8_t *table; /* [rows of the owner][hidden] elements of dtype, or NULL             */
    const shoal_linear *tied; /* instead: column `id - first` of a float linear held as lm_head */
    shoal_dtype dtype;
    int64_t first, count;  /* ids this rank holds */
    const int32_t *tokens; /* [rows] */
    int64_t rows, hidden;
    float scale; /* every element is multiplied by it */
    float *out;  /* [rows][hidden]; rows of tokens this rank does not hold are left alone         */
} shoal_embed_args;

typedef struct {
    float *x; /* [rows][hidden], in and out */
    int64_t rows, hidden;
    /* The branch that joins the residual; all NULL/0 at the first norm. */
    const int64_t *const *parts; /* part_count arrays [rows][hidden + 1] to sum                  */
    int part_count;
    const float *branch;      /* or: fp32 rows [rows][hidden] already summed                    */
    const float *bias;        /* [hidden] or NULL, added after the sum                          */
    const float *branch_norm; /* [hidden] or NULL: rmsnorm of the branch before it joins        */
    int64_t *bad;             /* [rows]: += the reduced count of bad units; such a row's x is 0 */
    /* The norm of x. */
    const float *weight; /* [hidden], or NULL: stop after the residual                           */
    float eps;
    const int32_t *pick; /* rows to normalise: acts row i = norm of x row pick[i]; NULL: all     */
    int64_t picked;      /* number of them (rows when pick is NULL)                              */
    shoal_act *acts;     /* act_count outputs                                                    */
    int act_count;
    int64_t *pending; /* [rows] */
} shoal_norm_args;

typedef struct {
    const shoal_linear *linear;
    const shoal_act *act;
    float *out; /* [rows][ld] */
    int64_t ld;
    float soft_cap; /* 0: none; lm_head of Gemma 2 */
} shoal_whole_job;

typedef struct {
    const float *q, *k, *v; /* [rows][heads * head_dim], [rows][kv_heads * head_dim] of this rank */
    int64_t rows;
    int64_t heads, head_first;       /* q heads of this rank, and the first one's global index   */
    int64_t kv_heads, kv_head_first; /*                                                          */
    int64_t group;                   /* q heads per kv head in the whole model                   */
    int64_t head_dim, rope_dim;      /*                                                          */
    const float *cos, *sin;          /* [rows][rope_dim / 2]; NULL: no rope                      */
    const float *q_norm, *k_norm;    /* [head_dim] or NULL                                       */
    float norm_eps, scale, soft_cap;
    int64_t window; /* 0: none */
    const shoal_sequence_rows *sequences;
    int64_t sequence_count;
    const shoal_kv_layer *kv;
    float *out;       /* [rows][heads * head_dim], scratch or result */
    shoal_act *act;   /* input of o; NULL: stop at `out` */
    int64_t *pending; /* [rows] */
} shoal_attention_args;

typedef struct {
    const shoal_linear *linear;
    const shoal_act *act;
    int64_t rows;
    int64_t *slot;          /* [rows][n + 1]; element n is the count of bad units */
    const int64_t *pending; /* [rows], added to the count */
} shoal_cut_args;

typedef enum { SHOAL_GATE_SILU, SHOAL_GATE_GELU_TANH, SHOAL_GATE_GELU } shoal_gate;

typedef struct {
    const shoal_linear *gate, *up;
    const shoal_act *gate_act, *up_act;
    int64_t rows;
    shoal_gate kind;
    shoal_act *act;         /* input of down, in natural order */
    const int32_t *rows_of; /* [rows]: the row of the step that each is; NULL: the same */
    int64_t *pending;       /* [rows of the step] */
} shoal_gated_args;

typedef struct {
    const float *scores; /* [rows][experts] */
    const float *shared; /* [rows]: score of the shared expert; NULL: there is none */
    int64_t rows, experts, chosen;
    bool renormalize;
    int32_t *index;       /* [rows][chosen]: the experts of a row, ascending */
    float *weight;        /* [rows][chosen] */
    float *shared_weight; /* [rows] */
    int64_t *pending;     /* [rows] */
} shoal_route_args;

/* One expert and the rows that go through it. The acts are of `rows` rows; the inputs of gate and
 * up may be one act (the same memory). */
typedef struct {
    const shoal_linear *gate, *up, *down;
    shoal_act gate_act, up_act, act;
    int64_t rows;
    const int32_t *rows_of; /* [rows]: of the step */
    const float *weight;    /* [rows] */
} shoal_expert_job;

typedef struct {
    const float *x; /* [rows][ld]: inputs of the experts */
    int64_t ld;
    int64_t rows, n;
    shoal_expert_job *jobs; /* of this rank; any number */
    int job_count;
    shoal_gate kind;
    int64_t *slot;    /* [rows][n + 1], as in shoal_cut_args */
    int64_t *pending; /* [rows] */
} shoal_experts_args;

typedef struct {
    const float *const *sources; /* source_count arrays [rows][widths[i]], side by side          */
    const int64_t *widths;
    int source_count;
    int64_t rows;
    float *scratch; /* [rows][sum of widths] */
    shoal_act *acts;
    int act_count;
    int64_t *pending;
} shoal_quantize_args;

typedef struct {
    const int64_t *positions; /* [rows] */
    int64_t rows, dim;        /* rope_dim */
    const float *inv_freq;    /* [dim / 2] */
    float factor;             /* cos and sin are multiplied by it, rounded once more */
    float *cos, *sin;         /* [rows][dim / 2] */
} shoal_rope_args;

typedef struct shoal_backend shoal_backend;

typedef struct {
    const char *name; /* "cpu" */
    shoal_status (*embed)(shoal_backend *, const shoal_embed_args *);
    shoal_status (*rope)(shoal_backend *, const shoal_rope_args *);
    shoal_status (*norm)(shoal_backend *, const shoal_norm_args *);
    shoal_status (*whole)(shoal_backend *, const shoal_whole_job *jobs, int count, int64_t rows);
    shoal_status (*attention)(shoal_backend *, const shoal_attention_args *);
    shoal_status (*cut)(shoal_backend *, const shoal_cut_args *);
    shoal_status (*gated)(shoal_backend *, const shoal_gated_args *);
    shoal_status (*quantize)(shoal_backend *, const shoal_quantize_args *);
    shoal_status (*route)(shoal_backend *, const shoal_route_args *);
    shoal_status (*experts)(shoal_backend *, const shoal_experts_args *);
    void (*close)(shoal_backend *);
} shoal_backend_ops;

/* A filling of the table extends this struct. */
struct shoal_backend {
    const shoal_backend_ops *ops;
    shoal_cpu_level cap;
};

typedef struct {
    int threads;           /* >= 1 */
    bool crowded;          /* more threads than cores on this node: do not spin */
    const int *processors; /* [threads]: where each stays; NULL: the kernel decides */
    shoal_cpu_level cap;   /* highest kernel level to use */
} shoal_backend_options;

/* The CPU filling (kernels/backend_cpu.c). */
SHOAL_MUST_USE shoal_status shoal_backend_cpu_open(const shoal_backend_options *options,
                                                   shoal_backend **out);

/* Its threads, for work between operations. Borrowed. */
shoal_pool *shoal_backend_cpu_pool(shoal_backend *backend);

/* The row of kernels/ops.h that a CPU backend runs ("ops-avx2"), for reports. */
const char *shoal_backend_cpu_ops(const shoal_backend *backend);

/* And that of kernels/attention.h ("attention-avx2"). */
const char *shoal_backend_cpu_attention_row(const shoal_backend *backend);

#endif
