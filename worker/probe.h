/* worker/probe.h - the load-time layer probe: does every linear compute what the file says?
 *
 * A known vector goes through each sharded linear exactly as a step would send it: quantizer,
 * kernel, bias, reduce. The outputs are compared with the plain product in double of weights read
 * and dequantized afresh from the checkpoint. The vector's values are multiples of 2^-12 whose
 * largest in every activation group is 127 * 2^-12, so that its quantization is exact and what is
 * left is rounding: a lost bias, a swapped zero point or a wrong slice of scales stands out by
 * orders of magnitude. Windows of 64 outputs are looked at: the first, the last and one between. */
#ifndef SHOAL_WORKER_PROBE_H
#define SHOAL_WORKER_PROBE_H

#include "worker/assembly.h"

/* Collective. SHOAL_ERR_DATA naming layer, linear, rank, output, value and expectation. The worst
 * error of every linear is logged (event "probe"); `progress`, if given, is called after each. */
SHOAL_MUST_USE shoal_status shoal_probe_run(shoal_assembly *assembly, shoal_comm *comm,
                                            shoal_weights_progress progress, void *context);

#endif
