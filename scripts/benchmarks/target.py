"""Programs compiled for a device without an array: what they hold there, by the
compiler's account.

XLA compiles for an accelerator that this machine lacks, from a description of the chip:
nothing runs there, so it says memory, and no seconds.
"""

import argparse
import math
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from perl import sharding
from perl.training.plan import Plan

# descriptions of chips, as XLA reads them
CHIPS = {'h100': pathlib.Path(__file__).with_name('h100.txtpb')}
_FUSED = re.compile(r'custom_call_target="(?:__cudnn\$fmha\w*|tpu_custom_call)"')
_GIB = 2**30


def mesh(args: argparse.Namespace) -> Mesh:
    """`--mesh` devices of `--target`, or the CPU that is there.

    Raises:
        SystemExit: the compiler for the target is not installed, or the target has
            fewer devices.
    """
    if not args.target:
        return sharding.make_mesh()
    jax.config.update('jax_platforms', 'cpu')  # the others have no devices here
    shape = tuple(map(int, args.mesh.split(',')))
    need = math.prod(shape)
    try:
        there = _gpus(args.target, need) if args.target in CHIPS else _tpus(args.target)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise SystemExit(
            f'--target={args.target}: JAX has no compiler for it ({error}); install '
            f"'.[{'target' if args.target in CHIPS else 'tpu'}]'"
        ) from None
    if need > len(there):
        raise SystemExit(
            f'--mesh={args.mesh} is {need} devices, {args.target} has {len(there)}'
        )
    return Mesh(np.array(there[:need]).reshape(shape), sharding.AXES)


def _gpus(name, count):
    from jax._src.cudnn import fused_attention_stablehlo
    from jax.experimental import topologies  # loads every plugin of JAX

    # JAX asks the GPU of this machine how wide the heads of cuDNN's attention may be
    fused_attention_stablehlo.check_compute_capability = lambda _: True
    chip = CHIPS[name].read_text()
    return topologies.get_topology_desc(
        name, 'cuda', target_config=chip, topology=f'1x1x{count}'
    ).devices


def _tpus(name):
    from jax.experimental import topologies  # loads every plugin of JAX

    return topologies.get_topology_desc(platform='tpu', topology_name=name).devices


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
        target: the devices; the account is that of one.
    """
    held = plan.bytes_per_device(target)
    held = {name: held[name] for name in ('frozen', 'trainable', 'optimizer')}
    stays, found = sum(held.values()), {}
    for name, program in programs.items():
        compiled = program.compile()
        memory = compiled.memory_analysis()
        new = memory.output_size_in_bytes - memory.alias_size_in_bytes
        found[name] = {
            'temporary_gib': _gib(memory.temp_size_in_bytes),
            'outputs_gib': _gib(new),
            'total_gib': _gib(stays + new + memory.temp_size_in_bytes),
            'fused_kernels': len(_FUSED.findall(compiled.as_text())),
        }
        print(f'{name}: {found[name]}', file=sys.stderr, flush=True)  # takes minutes
    return {
        **{f'{name}_gib': _gib(size) for name, size in held.items()},
        'programs': found,
    }


def placed(tree: Any, target: Mesh) -> Any:
    """Arrays or shapes as shapes on the target, the rows of a batch divided."""

    def place(x):
        axes = ('batch', None, None, None)[: x.ndim]
        where = NamedSharding(target, sharding.spec(axes, x.shape, target))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

    return jax.tree.map(place, tree)


def _gib(size):
    return round(size / _GIB, 3)
