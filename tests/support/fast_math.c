/* A shared library built with -Ofast: loading it makes denormals vanish in the loading thread,
 * which is what some real libraries do to a process. Used by tests/unit/test_worker_bits.c. */
double shoal_fast_math(double x);

double shoal_fast_math(double x)
{
    return x + x;
}
