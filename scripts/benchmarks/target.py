"""Programs compiled for a device without an array: what they hold there, by the
compiler's account.

XLA compiles for an accelerator that this machine lacks, from a description of the chip:
nothing runs there, so it says memory, and no seconds.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from perl import sharding
from perl.training.plan import Plan

# descriptions of chips, as XLA reads them
CHIPS = {'h100': pathlib.Path(__file__).with_name('h100.txtpb')}
_GIB = 2**30


def mesh(args: argparse.Namespace) -> Mesh:
    """One device of `--target`, or the CPU that is there.

    Raises:
        SystemExit: the compiler for the target is not installed.
    """
    if not args.target:
        return sharding.make_mesh()
    from jax.experimental import topologies  # loads every plugin of JAX

    jax.config.update('jax_platforms', 'cpu')  # the others have no devices here
    try:
        target = topologies.get_topology_desc(
            args.target,
            'cuda',
            target_config=CHIPS[args.target].read_text(),
            topology='1x1x1',
        )
    except (RuntimeError, NotImplementedError) as error:
        raise SystemExit(
            f'--target={args.target}: JAX has no compiler for it ({error}); install '
            f'jax-cuda12-plugin and jax-cuda12-pjrt of version {jax.__version__}, '
            'nvidia-cuda-nvcc-cu12 and nvidia-cudnn-cu12'
        ) from None
    return Mesh(np.array(target.devices[:1]).reshape(1, 1, 1), sharding.AXES)


def account(plan: Plan, programs: Mapping[str, Any], target: Mesh) -> dict[str, Any]:
    """GiB on the device: what stays there through a stage, and by program what it needs
    beside that.

    The compiler counts an array once for each argument that it is. Roles share their
    base, so the arguments are counted from the plan instead: frozen (base and the
    adapters that nobody trains), trainable (adapters and heads) and optimizer. All of
    them stay, whichever of them a program reads.

    Args:
        plan: of the stage.
        programs: by name, lowered and not compiled.
        target: one device.
    """
    held = plan.bytes_per_device(target)
    held = {name: held[name] for name in ('frozen', 'trainable', 'optimizer')}
    stays, found = sum(held.values()), {}
    for name, program in programs.items():
        memory = program.compile().memory_analysis()
        new = memory.output_size_in_bytes - memory.alias_size_in_bytes
        found[name] = {
            'temporary_gib': _gib(memory.temp_size_in_bytes),
            'outputs_gib': _gib(new),
            'total_gib': _gib(stays + new + memory.temp_size_in_bytes),
        }
        print(f'{name}: {found[name]}', file=sys.stderr, flush=True)  # takes minutes
    return {
        **{f'{name}_gib': _gib(size) for name, size in held.items()},
        'programs': found,
    }


def placed(tree: Any, target: Mesh) -> Any:
    """Arrays or shapes as shapes on every device of the target."""
    place = sharding.replicated(target)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
    )


def _gib(size):
    return round(size / _GIB, 3)
