"""Gates that weigh several adapters by what they make of the input (MoLE, arXiv
2404.13628).

A gate is a softmax of `e' z / tau`, with `z` the adapters' outputs in a row. One gate
may weigh what whole networks say, or every block has a gate of its own and the adapters
are mixed inside the network. Only `e` and `tau` are trained.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.adapters.tree import LAYERS
from perl.models import attention, decoder
from perl.models.architecture import Architecture, with_precision
from perl.models.decoder import Block

GATED = ('gate', 'mole')  # one gate for the network, a gate in every block


def fresh(arch: Architecture, combine: str, members: int) -> dict[str, jax.Array]:
    """A gate that gives every member the same share; of `mole` one for each layer."""
    lead = (arch.layers,) if combine == 'mole' else ()
    return {
        'e': jnp.zeros((*lead, members * arch.width, members), jnp.float32),
        'log_tau': jnp.zeros(lead, jnp.float32),
    }


def shares(gate: Any, outputs: jax.Array) -> jax.Array:
    """What the gate gives each member, `[M, ...]` float32, adding up to 1 over members.

    Args:
        gate: `{'e': [M * D, M], 'log_tau': []}`.
        outputs: the members' outputs `[M, ..., D]`; in a row they are scaled to a root
            mean square of 1.
    """
    z = jnp.moveaxis(outputs, 0, -2).astype(jnp.float32)
    z = z.reshape(*z.shape[:-2], -1)
    z = z * jax.lax.rsqrt(jnp.mean(z * z, axis=-1, keepdims=True) + 1e-6)
    scores = jnp.matmul(z, gate['e'], precision='highest')
    gates = jax.nn.softmax(scores * jnp.exp(-gate['log_tau']), axis=-1)
    return jnp.moveaxis(gates, -1, 0)


@with_precision
def mixed(
    arch: Architecture,
    base: Any,
    stacked: Any,
    gate: Any,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array,
    output_slots: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Final states of a network in whose every block a gate mixes the adapters.

    With `E_i(x)` what the block with adapter i adds to its input, the block's output is
    `x + sum_i g_i E_i(x)`. As the shares add up to 1, the frozen block's own output,
    which MoLE writes apart from the adapters', is in it once.

    Args:
        arch: the decoder.
        base: its parameters.
        stacked: adapters of `layers`, from `tree.stack`.
        gate: of `fresh(arch, 'mole', M)`.
        tokens, positions, segments: `[N, T]`, as in `decoder.hidden`.
        output_slots: `[N, E]`, the slots whose states are wanted.

    Returns:
        States `[N, E, D]`, and the shares `[L, M, N, T]`.
    """
    rope = decoder.rotations(arch, positions)

    def step(x, layer):
        own, deltas, weigh = layer

        def added(delta):
            block = Block(arch, parent=None)
            params = {'params': tree.bind(own, delta)}
            (out, _), _ = block.apply(params, (x, None), rope, segments, None, None)
            return out - x

        outputs = jax.vmap(added)(deltas)
        given = shares(weigh, outputs)
        total = jnp.einsum('mnt,mntd->ntd', given, outputs.astype(jnp.float32))
        return x + total.astype(x.dtype), given

    step = jax.checkpoint(step) if arch.remat else step
    x = decoder.embed(arch, base['embed'], tokens)
    x, given = jax.lax.scan(step, x, (base[LAYERS], stacked[LAYERS], gate))
    states = decoder.rms_norm(x, base['norm'], arch.norm_eps)
    return attention.at(states, output_slots), given
