"""The seconds of repeated calls, and where those of one of them go."""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import profiles


def timed(
    args: argparse.Namespace, call: Callable[[int], Any], count: int
) -> tuple[list[float], dict]:
    """Seconds of each of the first `count` calls; with `--profile`, where the time of
    one more goes.

    Args:
        args: the flags.
        call: of its number, from 0; its arrays are waited for.
        count: of calls, those that warm up included.
    """
    seconds = []
    for i in range(count):
        began = time.perf_counter()
        jax.block_until_ready(call(i))
        seconds.append(time.perf_counter() - began)
    if not args.profile:
        return seconds, {}
    return seconds, {'profile': profiles.shares(lambda: call(count))}
