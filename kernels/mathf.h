/* kernels/mathf.h - our own exp, log, tanh, erf, sin and cos, the same bits on every machine.
 *
 * libm may differ between systems; of it only the exact functions (fma, sqrt, rint) are used
 * (docs/arithmetic.md rule 0). These are the scalar definitions; kernels/x86/mathf_avx2.h and
 * mathf_avx512.h return identical bits. Fixed polynomials, fused Horner steps, constants in
 * kernels/mathf_constants.h. Any NaN in gives the NaN 0x7fc00000 out. Nothing here reads or needs
 * errno or floating-point flags. */
#ifndef SHOAL_KERNELS_MATHF_H
#define SHOAL_KERNELS_MATHF_H

/* exp(±0) = 1, exactly; x < -87 gives +0; +inf from the first overflow on. Within 1 ulp. */
float shoal_expf(float x);

/* log(±0) = -inf, log(negative) = NaN; subnormal inputs count. Within 1 ulp. */
float shoal_logf(float x);

/* Odd, tanh(-0) = -0. Within 2 ulp. */
float shoal_tanhf(float x);

/* Odd, erf(-0) = -0. Within 2 ulp. */
float shoal_erff(float x);

/* g / (1 + exp(-g)): -0 for large negative g, NaN for -inf. */
float shoal_siluf(float g);

/* (0.5 x) * (1 + tanh(sqrt(2/pi) * fmaf(0.044715, (x*x)*x, x))), each step rounded. */
float shoal_gelu_tanhf(float x);

/* (0.5 x) * (1 + erf(x * sqrt(1/2))), each step rounded. */
float shoal_geluf(float x);

/* sin and cos of an fp32 angle in radians through a double polynomial: at most 0.50001 ulp off.
 * |angle| >= 2^32, infinities and NaN give NaN. Scalar only: rope needs few of them. */
void shoal_sincosf(float angle, float *sine, float *cosine);

#endif
