"""A base read onto a mesh: seconds, and the largest host memory."""

import argparse
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import jax

from benchmarks.memory import peak_bytes
from perl import sharding
from perl.models import bases, frozen_base, store
from perl.models.files import open_checkpoint

COMMAND = pathlib.Path(__file__).parents[1] / 'benchmark.py'


def measure(args: argparse.Namespace) -> dict:
    """A base read onto a mesh: the largest host memory of a process that does nothing
    else, and the seconds.

    `peak_of_size` is that memory by the size of the checkpoint, Python and JAX
    included; `growth_of_size` leaves out what the process had before it began. Without
    `--folder` the checkpoint is a random Llama of the flags' shape. It is written and
    read in processes of their own, so that one does not add to the peak of the other.
    """
    if args.folder:
        return read_timed(args)
    with tempfile.TemporaryDirectory() as folder:
        for workload in ('checkpoint', 'load'):
            flags = {**vars(args), 'workload': workload, 'folder': folder}
            given = [f'--{k}={x}' for k, x in flags.items() if not isinstance(x, bool)]
            command = [sys.executable, str(COMMAND), *given]
            ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def read_timed(args: argparse.Namespace) -> dict:
    """The figures of `load` of a folder, in this process."""
    mesh = sharding.make_mesh(data=args.devices)
    stored = {'dtype': args.dtype, 'quantization': args.quantization}
    arch = store.changed(bases.describe(args.folder), **stored)
    tensors = open_checkpoint(args.folder).tensors
    size = sum(x.nbytes for x in tensors.values())
    before, began = peak_bytes(), time.perf_counter()
    params, _ = bases.load(
        args.folder,
        arch,
        functools.partial(frozen_base.place_leaf, arch, mesh),
        functools.partial(frozen_base.encoder, arch),
    )
    jax.block_until_ready(params)
    seconds, peak = time.perf_counter() - began, peak_bytes()
    return {
        'checkpoint_mb': round(size / 2**20),
        'peak_of_size': round(peak / size, 3),
        'growth_of_size': round((peak - before) / size, 3),
        'seconds': round(seconds, 2),
    }
