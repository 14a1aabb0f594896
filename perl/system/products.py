"""How much faster this processor multiplies rounded operands, measured."""

import functools
import time

import jax
import jax.numpy as jnp

from perl.system import compilation_cache, jsonl

_SIZE = 1024  # rows and columns: large enough for the rate of the products of a model
_TURNS = 20  # other work slows some of them down
_FILE = 'products.json'


def gain_of_bfloat16() -> float:
    """The time of a float32 matrix product, over that of the same product of operands
    rounded to bfloat16 and added in float32, rounding included.

    It is measured once for each kind of processor, in half a second, and kept in the
    user's cache folder, so that the runs of a machine agree.
    """
    folder = compilation_cache.own_folder('measured')
    known = jsonl.load(folder / _FILE) if folder else {}
    if 'gain_of_bfloat16' not in known:
        known['gain_of_bfloat16'] = _measured()
        if folder:
            jsonl.save(folder / _FILE, known)
    return known['gain_of_bfloat16']


def _measured():
    """By the fastest of a few turns of each."""
    x, w = jnp.ones((2, _SIZE, _SIZE), jnp.float32)

    def rounded(x, w):
        x, w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
        return jnp.matmul(x, w, preferred_element_type=jnp.float32)

    plain = functools.partial(jnp.matmul, precision='highest')
    programs = jax.jit(plain), jax.jit(rounded)
    for program in programs:
        program(x, w).block_until_ready()
    times = [[_seconds(program, x, w) for program in programs] for _ in range(_TURNS)]
    highest, half = map(min, zip(*times, strict=True))
    return highest / half


def _seconds(program, x, w):
    began = time.perf_counter()
    program(x, w).block_until_ready()
    return time.perf_counter() - began
