"""What every row says beside the figures of its workload: the machine, the memory, and
the share of what the machine reaches at best."""

import argparse
import os
import pathlib
import re

import jax

from benchmarks import ceiling, flops
from benchmarks.shape import architecture_of

# the seconds of what `flops.of` counts, by workload
_SECONDS = {
    'reward': 'seconds_per_step',
    'dpo': 'seconds_per_step',
    'score': 'seconds_per_pass',
    'policy': 'seconds_per_iteration',
    'generate': 'seconds_per_call',
}


def machine() -> dict[str, str]:
    """The device, and the host's processor with the cores that this process has."""
    info = pathlib.Path('/proc/cpuinfo')
    text = info.read_text() if info.exists() else ''
    name = re.search(r'model name\s*: (.*)', text)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 0
    return {
        'device': jax.devices()[0].device_kind,
        'processor': f'{name[1] if name else "unknown"}, {cores or "all"} cores',
        'jax': jax.__version__,
    }


def memory() -> dict[str, int]:
    """The most memory of an accelerator that was in use at once, MiB; nothing where the
    device does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {'peak_bytes_in_use': 'peak_device_mb'}
    return {new: round(stats[x] / 2**20) for x, new in names.items() if x in stats}


def shares(args: argparse.Namespace, figures: dict) -> dict[str, float]:
    """Operations a second beside those of a matrix product, and, of sampling, bytes a
    second beside those of a copy; nothing where no workload was timed.

    `gemm_share` of sampling is small: it waits for memory, which `copy_share` tells.
    """
    name = _SECONDS.get(args.workload)
    if name not in figures or args.mean:
        return {}
    done, best = flops.of(args, architecture_of(args)), ceiling.measure(args)
    tflops = done / figures[name] / 1e12
    found = {
        'flops_per_step': round(done),
        'tflops': round(tflops, 4),
        **best,
        'gemm_share': round(tflops / best['gemm_tflops'], 3),
    }
    if 'gb_per_s' in figures:
        share = figures['gb_per_s'] / best['copy_gb_per_s']
        found['copy_share'] = round(share, 3)
    return found
