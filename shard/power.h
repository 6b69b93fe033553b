/* shard/power.h - logarithm and power in double, the same bits on every machine.
 *
 * libm may differ between systems, and rope frequencies depend on the last bit of a power. Plain
 * polynomials with fused steps; the error is below 3e-16 relative. For finite, positive, normal
 * arguments and results: what config.json may say has been checked to be inside that. */
#ifndef SHOAL_SHARD_POWER_H
#define SHOAL_SHARD_POWER_H

/* Natural logarithm. */
double shoal_log_double(double x);

/* base to the power `exponent`. */
double shoal_power_double(double base, double exponent);

#endif
