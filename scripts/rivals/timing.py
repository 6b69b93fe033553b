"""How the linears of the rivals are timed, and what they are fed. Needs numpy."""
import statistics
import time

import numpy

LEAST_SECONDS, LEAST_RUNS = 0.8, 3


def activations(m, k):
    return numpy.random.default_rng(2).standard_normal((m, k), dtype=numpy.float32)


def seconds_each(call):
    """Median seconds of a call, after one that is not counted."""
    call()
    times, begin = [], time.perf_counter()
    while len(times) < LEAST_RUNS or time.perf_counter() - begin < LEAST_SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
