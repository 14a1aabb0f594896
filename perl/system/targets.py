"""Devices that a program is compiled for, whether this machine has them or not.

XLA compiles for an accelerator that is not here from a description of it: the whole
program, its kernels, its collectives, and its account of memory. Nothing runs there, so
it tells no seconds.
"""

import dataclasses
import importlib.util
import math
import os
import pathlib
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from perl.system import capacity
from perl.system.errors import UserError

# descriptions of chips, as XLA reads them
CHIPS = {x.stem: x for x in (pathlib.Path(__file__).parent / 'chips').glob('*.txtpb')}
# GiB of memory of a device, as JAX counts devices: a core of v2 and v3, else a chip
TPUS = {'v2': 8, 'v3': 16, 'v4': 32, 'v5e': 16, 'v5p': 95, 'v6e': 32}
_GPU = re.compile(rf'({"|".join(CHIPS)})(?:x([1-9]\d*))?')
_TPU = re.compile(rf'({"|".join(TPUS)}):\d+(x\d+)+')
_GIB = 2**30
_FORCED = 'xla_force_host_platform_device_count'


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices of one kind.

    Attributes:
        name: as a user writes it.
        devices: some of them may be descriptions.
        memory: bytes of one device; None where it is unknown.
    """

    name: str
    devices: Sequence[jax.Device]
    memory: int | None


def open_target(name: str, devices: int = 1) -> Target:
    """The devices of a target. Ask for it before JAX has made anything.

    Args:
        name: `cpu`, the machine that is here; a GPU and how many of them, such as
            `h100x8`; or a TPU and its topology, such as `v5e:2x2`.
        devices: how many a CPU is to be cut into.

    Raises:
        UserError: an unknown name, or the compiler for it is not installed.
    """
    gpu, tpu = _GPU.fullmatch(name), _TPU.fullmatch(name)
    if not (gpu or tpu or name == 'cpu'):
        raise UserError(
            f'target: {name!r} is none of cpu, {" or ".join(sorted(CHIPS))} with a '
            f'number (h100x8), {", ".join(TPUS)} with a topology (v5e:2x2)'
        )
    jax.config.update('jax_platforms', 'cpu')  # the others have no devices here
    if name == 'cpu':
        if devices > 1 and _FORCED not in os.environ.get('XLA_FLAGS', ''):
            jax.config.update('jax_num_cpu_devices', devices)
        here = jax.devices()
        machine = capacity.capacity(here)
        return Target(name, here, machine and machine.total // devices)
    try:
        there = _gpus(gpu[1], int(gpu[2] or 1)) if gpu else _tpus(name)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise UserError(
            f'target: JAX cannot compile for {name} here ({why}); {_mend(name)}'
        ) from None
    memory = _memory_of(gpu[1]) if gpu else TPUS[tpu[1]] * _GIB
    return Target(name, there, memory)


def _mend(name):
    """What helps where there is no compiler for a target, or it refuses the target."""
    if ':' in name and importlib.util.find_spec('libtpu'):
        return 'give a topology that there is, such as v5e:2x2 or v5p:2x2x1'
    extra = 'tpu' if ':' in name else 'target'
    return f"install '.[{extra}]', best in an environment of its own"


def _gpus(chip, count):
    from jax._src.cudnn import fused_attention_stablehlo
    from jax.experimental import topologies  # loads every plugin of JAX

    # no kernel can be tried there
    flags = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'{flags} --xla_gpu_autotune_level=0'
    # JAX asks the GPU of this machine how wide the heads of cuDNN's attention may be
    fused_attention_stablehlo.check_compute_capability = lambda _: True
    said = CHIPS[chip].read_text()
    return topologies.get_topology_desc(
        chip, 'cuda', target_config=said, topology=f'1x1x{count}'
    ).devices


def _tpus(name):
    from jax.experimental import topologies  # loads every plugin of JAX

    os.environ.update(  # no server can be asked for the name of this host
        TPU_SKIP_MDS_QUERY='1',
        TPU_WORKER_HOSTNAMES='localhost',
        TPU_ACCELERATOR_TYPE='v5e-4',
        ALLOW_MULTIPLE_LIBTPU_LOAD='1',  # no device is held, so two may compile
    )
    return topologies.get_topology_desc(platform='tpu', topology_name=name).devices


def _memory_of(chip):
    found = re.search(r'device_memory_size: (\d+)', CHIPS[chip].read_text())
    return int(found[1])


def mesh_shape(text: str, axes: Sequence[str]) -> dict[str, int]:
    """The lengths of axes that a user wrote, such as `fsdp=4,tensor=2`; others are 1.

    Raises:
        UserError: it is not of that form.
    """
    shape = dict.fromkeys(axes, 1)
    for part in filter(None, text.split(',')):
        name, _, length = part.partition('=')
        if name not in shape or not length.isdecimal() or int(length) < 1:
            raise UserError(
                f'mesh: {part!r} is not an axis and its length; write '
                f'{",".join(f"{axis}=1" for axis in axes)}'
            )
        shape[name] = int(length)
    return shape


def mesh_of(target: Target, shape: dict[str, int]) -> Mesh:
    """The first devices of a target as a mesh.

    Args:
        target: the devices.
        shape: from `mesh_shape`.

    Raises:
        UserError: the target has too few.
    """
    need = math.prod(shape.values())
    if need > len(target.devices):
        raise UserError(
            f'mesh: it is of {need} devices, {target.name} has {len(target.devices)}; '
            'choose a smaller mesh or a larger target'
        )
    devices = np.array(target.devices[:need]).reshape(*shape.values())
    return Mesh(devices, tuple(shape))
