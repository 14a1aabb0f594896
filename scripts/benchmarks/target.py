"""Programs compiled for a device without an array: what they hold there, by the
compiler's account.

XLA compiles for an accelerator that this machine lacks, from a description of the chip:
nothing runs there, so it says memory, and no seconds.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from perl import sharding
from perl.system import targets
from perl.system.errors import UserError
from perl.training.plan import Plan

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
    shape = dict(zip(sharding.AXES, map(int, args.mesh.split(',')), strict=True))
    try:
        return targets.mesh_of(targets.open_target(args.target), shape)
    except UserError as error:
        raise SystemExit(f'--target={args.target}: {error}') from None


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


def _gib(size):
    return round(size / _GIB, 3)
