/* shard/cpu_packing.h - in which order a CPU packed the int4 weights of a checkpoint.
 *
 * PyTorch packs for the CPU that packs and writes nothing of it into the file. The codes tell some
 * of it: torchao's quantizer gives every group of a row its smallest and its largest code, 0 and
 * 15. Read in the right order, (nearly) all groups have both; read in the order of another width of
 * bands, a group is a mixture of two rows and a quarter of them lacks one. `avx2` and `generic`
 * have bands of the same height and cannot be told apart in this way. */
#ifndef SHOAL_SHARD_CPU_PACKING_H
#define SHOAL_SHARD_CPU_PACKING_H

#include "shard/checkpoint.h"
#include "shard/int4_packing.h"

/* Is this a class whose codes a CPU packed? */
bool shoal_cpu_packing_is(const shoal_tensor_subclass *subclass);

/* Look at the beginnings of a few weights, while the checkpoint is being opened. *out is
 * SHOAL_INT4_UNKNOWN where there are none or the codes do not tell. */
SHOAL_MUST_USE shoal_status shoal_cpu_packing_guess(shoal_checkpoint *checkpoint,
                                                    shoal_int4_order *out);

#endif
