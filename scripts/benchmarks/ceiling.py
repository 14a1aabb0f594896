"""What the device reaches at best: operations and bytes a second, measured.

python scripts/benchmark.py --workload=ceiling --dtype=bfloat16
"""

import argparse
import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from perl.weights.product import product

# a product that takes as long is large enough, and so is one of this size
_LONG_S, _LARGEST = 0.02, 2**13


def measure(args: argparse.Namespace) -> dict:
    """The ceilings of `--dtype` and `--precision`."""
    return {
        'gemm_tflops': round(gemm(args.dtype, args.precision) / 1e12, 4),
        'copy_gb_per_s': round(copy() / 1e9, 2),
    }


@functools.cache
def gemm(dtype: str, precision: str) -> float:
    """Operations a second of a product of two square matrices of random numbers, as the
    model multiplies: the fastest of sizes from 256 up to the first that takes 20 ms, or
    8,192.

    Args:
        dtype: of both operands; the sums are float32.
        precision: of products of float32, as `model.precision`.
    """
    best, size, seconds = 0.0, 256, 0.0
    with jax.default_matmul_precision(precision):
        run = jax.jit(lambda x, y: product('btd,df->btf', x, y, x.dtype))
        while size <= _LARGEST and seconds < _LONG_S:
            x = jax.random.normal(jax.random.key(size), (1, size, size), dtype)
            seconds = fastest(functools.partial(run, x, x[0]))
            best, size = max(best, 2 * size**3 / seconds), 2 * size
    return best


@functools.cache
def copy() -> float:
    """Bytes a second, read and written together, of a pass over an array that is too
    large for caches: 1 GiB on an accelerator, 128 MiB on a CPU. It is overwritten, so
    that no time goes into new pages of memory."""
    on_cpu = jax.default_backend() == 'cpu'
    x = jnp.arange((2**27 if on_cpu else 2**30) // 4, dtype='float32')
    run, size = jax.jit(lambda x: -x, donate_argnums=0), 2 * x.nbytes

    def call():
        nonlocal x
        x = run(x)
        return x

    return size / fastest(call)


def fastest(call: Callable[[], jax.Array]) -> float:
    """Seconds of a call: the least of five turns of several calls each, so that an
    accelerator does not wait for the host between them."""
    jax.block_until_ready(call())
    calls, least = 1 if jax.default_backend() == 'cpu' else 10, float('inf')
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            result = call()
        jax.block_until_ready(result)
        least = min(least, (time.perf_counter() - began) / calls)
    return least
