/* shard/convert_plan.h - what a conversion will write, before it reads a weight: every module in
 * its form, every tensor in its file.
 *
 * Order: as a model is walked (shoal_manifest_at), a bias behind its linear. Files are filled in
 * that order up to a size; inside a file tensors lie by alignment, then by name, as the safetensors
 * library writes them. */
#ifndef SHOAL_SHARD_CONVERT_PLAN_H
#define SHOAL_SHARD_CONVERT_PLAN_H

#include "shard/reform.h"
#include "shard/safetensors_write.h"
#include "shard/writer.h"

/* A tensor of the destination. */
typedef struct {
    shoal_tensor_decl decl;
    uint64_t bytes;
    uint64_t place; /* index among the tensors of its file */
} shoal_convert_tensor;

/* A module, or a vector (bias, norm). */
typedef struct {
    int module;                 /* index into modules; -1: a vector                   */
    const shoal_weight *weight; /* vectors: whose                                     */
    const shoal_tensor *vector; /*          the source tensor                         */
    size_t first;               /* its tensors follow each other                      */
    int count;
    int file;
    uint64_t work; /* elements */
    shoal_loss loss;
} shoal_convert_item;

typedef struct {
    const shoal_manifest *manifest;
    const shoal_target *target;
    shoal_written_module *modules;
    size_t module_count;
    shoal_convert_item *items;
    size_t item_count;
    shoal_convert_tensor *tensors;
    size_t tensor_count;
    int files;
    uint64_t work;     /* elements of all items         */
    uint64_t bytes;    /* of all tensors                */
    uint64_t consumed; /* source tensors that go into it */
    shoal_arena *arena;
} shoal_convert_plan;

/* SHOAL_ERR_DATA where the target cannot hold a module, or where there is nothing to convert. */
SHOAL_MUST_USE shoal_status shoal_convert_plan_make(const shoal_manifest *manifest,
                                                    const shoal_target *target, uint64_t file_bytes,
                                                    shoal_convert_plan **out);
void shoal_convert_plan_free(shoal_convert_plan *plan);

/* The largest of all items, when they are written. */
shoal_loss shoal_convert_plan_loss(const shoal_convert_plan *plan);

/* Bytes of the largest tensor that is read or written. */
uint64_t shoal_convert_plan_largest(const shoal_convert_plan *plan);

/* The declarations of one file, in order of `place`; freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_convert_declare(const shoal_convert_plan *plan, int file,
                                                  shoal_tensor_decl **decls, uint64_t *count);

#endif
