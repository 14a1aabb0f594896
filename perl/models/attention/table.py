"""Which implementation of attention a program gets."""

import functools
import sys

import jax

from perl.models.attention import cudnn, splash
from perl.models.attention.kernel import Kernel, Target
from perl.system.errors import UserError

FUSED: dict[str, Kernel] = {'cudnn': cudnn.KERNEL, 'splash': splash.KERNEL}


def choose(name: str, q: jax.Array, soft_cap: float | None) -> Kernel | None:
    """The fused kernel for queries `[B, T, H, N]`; None is `plain`.

    Args:
        name: `plain`, a name in `FUSED`, or `auto`: the one of the platform. Where that
            cannot do what is asked, a line on stderr says why, once.
        q: the queries.
        soft_cap: as in `attention.causal`.

    Raises:
        UserError: a kernel was named that cannot do this.
    """
    if name == 'plain':
        return None
    compiled_for = target()
    own = [key for key, x in FUSED.items() if x.platform == compiled_for.platform]
    asked = own[0] if name == 'auto' and own else name
    if asked == 'auto':
        return None
    kernel = FUSED[asked]
    why = kernel.refusal(compiled_for, q.dtype, q.shape[-1], soft_cap)
    if why is None:
        return kernel
    if name != 'auto':
        raise UserError(
            f'model.attention: {name} cannot be used: {why}; set model.attention=auto '
            'or plain'
        )
    _say(f'model.attention: plain instead of {asked}, which needs more memory: {why}')
    return None


def target() -> Target:
    """What the program being traced is compiled for: the devices of the mesh that is
    set, which may be a description of devices that are not here, or else the default
    device of JAX."""
    there = jax.devices()[0]
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is None or device.device_kind == there.device_kind:
        capability = getattr(there, 'compute_capability', '')
        return Target(there.platform, there.device_kind, str(capability))
    return Target(device.platform, device.device_kind)


@functools.cache
def _say(line):
    """Says it once."""
    print(line, file=sys.stderr, flush=True)
