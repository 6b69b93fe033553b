/* kernels/mathf_constants.h - the coefficients of mathf, for the reference and every variant.
 *
 * A changed digit here is a new arithmetic id. The polynomials are minimax fits of our own (Remez
 * exchange at 40 digits, coefficients then rounded to fp32); each states its interval and its
 * error in exact arithmetic. Lists run from the lowest power up. */
#ifndef SHOAL_KERNELS_MATHF_CONSTANTS_H
#define SHOAL_KERNELS_MATHF_CONSTANTS_H

#define SHOAL_NAN_BITS 0x7fc00000 /* the NaN that every function of mathf returns */

#define SHOAL_LOG2E  0x1.715476p+0f
#define SHOAL_LN2_HI 0x1.62e43p-1f
#define SHOAL_LN2_LO -0x1.05c61p-29f

/* exp: 1 + r + r^2 Q(r), |r| <= ln2 / 2, relative error 3.1e-9. */
#define SHOAL_EXP_MIN -87.0f         /* below: +0                            */
#define SHOAL_EXP_MAX 0x1.62e42ep+6f /* the last one with a finite result    */
#define SHOAL_EXP_0   0x1.fffffcp-2f
#define SHOAL_EXP_1   0x1.555492p-3f
#define SHOAL_EXP_2   0x1.5558f2p-5f
#define SHOAL_EXP_3   0x1.1239e2p-7f
#define SHOAL_EXP_4   0x1.6a242ep-10f

/* log(1 + f): f - f^2 / 2 + f^3 P(f), 1 + f in [sqrt(1/2), sqrt(2)), relative error 8.9e-10. */
#define SHOAL_SQRT_HALF_BITS 0x3f3504f3
#define SHOAL_LOG_0          0x1.55554cp-2f
#define SHOAL_LOG_1          -0x1.000008p-2f
#define SHOAL_LOG_2          0x1.99a2a8p-3f
#define SHOAL_LOG_3          -0x1.555a8ap-3f
#define SHOAL_LOG_4          0x1.235924p-3f
#define SHOAL_LOG_5          -0x1.fc7f4ep-4f
#define SHOAL_LOG_6          0x1.e592acp-4f
#define SHOAL_LOG_7          -0x1.dbbbe6p-4f
#define SHOAL_LOG_8          0x1.142d44p-4f

/* tanh: x + x^3 P(x^2), |x| < 0.625, relative error 4.4e-9; beyond: 1 - 2 / (exp(2x) + 1). */
#define SHOAL_TANH_SPLIT 0.625f
#define SHOAL_TANH_0     -0x1.555532p-2f
#define SHOAL_TANH_1     0x1.110726p-3f
#define SHOAL_TANH_2     -0x1.b83c5ap-5f
#define SHOAL_TANH_3     0x1.52269cp-6f
#define SHOAL_TANH_4     -0x1.75e1dp-8f

/* erf: x + x P(x^2), |x| < 0.92, relative error 3.9e-10; beyond: 1 - exp(-R(|x|)), absolute
 * error 1.5e-9 up to 4, where the result is 1. */
#define SHOAL_ERF_SPLIT 0.92f
#define SHOAL_ERF_END   4.0f
#define SHOAL_ERF_0     0x1.06eba8p-3f
#define SHOAL_ERF_1     -0x1.812744p-2f
#define SHOAL_ERF_2     0x1.ce2e24p-4f
#define SHOAL_ERF_3     -0x1.b810e8p-6f
#define SHOAL_ERF_4     0x1.54df1ap-8f
#define SHOAL_ERF_5     -0x1.ab105ep-11f
#define SHOAL_ERF_6     0x1.5f954p-14f
#define SHOAL_ERFC_0    0x1.b228cep-13f
#define SHOAL_ERFC_1    0x1.20ac3p+0f
#define SHOAL_ERFC_2    0x1.4647b6p-1f
#define SHOAL_ERFC_3    0x1.a9653p-4f
#define SHOAL_ERFC_4    -0x1.6b8e72p-6f
#define SHOAL_ERFC_5    0x1.8da158p-9f
#define SHOAL_ERFC_6    -0x1.98d46cp-13f

#define SHOAL_SQRT_2_PI  0x1.988454p-1f /* sqrt(2 / pi) */
#define SHOAL_SQRT_HALF  0x1.6a09e6p-1f
#define SHOAL_GELU_CUBIC 0x1.6e4e26p-5f /* 0.044715 */

#endif
