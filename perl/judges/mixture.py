"""Gates that weight several adapters by their outputs (MoLE, arXiv 2404.13628).

A gate is a softmax of `e' z / tau`, where `z` is the concatenation of the adapters'
outputs. Either one gate weights the outputs of whole networks, or each block has a gate
that mixes the adapters inside the network. Only `e` and `tau` are trained.
"""

from typing import Any

import jax
import jax.numpy as jnp

from perl.adapters import tree
from perl.adapters.tree import LAYERS
from perl.models import attention, decoder, norms
from perl.models.architecture import Architecture, with_precision
from perl.models.block import block
from perl.models.layer_kinds import kinds
from perl.models.self_attention import describe

GATED = ('gate', 'mole')  # one gate for whole networks; a gate in every block


def fresh(arch: Architecture, combine: str, members: int) -> dict[str, jax.Array]:
    """A gate that gives every member the same share; for `mole` one gate per layer.

    Returns:
        float32 `e` `[members * width, members]` and `log_tau` `[]`; for `mole` both
        have a leading axis `[layers]`.
    """
    lead = (arch.layers,) if combine == 'mole' else ()
    return {
        'e': jnp.zeros((*lead, members * arch.width, members), jnp.float32),
        'log_tau': jnp.zeros(lead, jnp.float32),
    }


def shares(gate: Any, outputs: jax.Array) -> jax.Array:
    """The share of each member, float32 `[M, ...]`; the shares sum to 1.

    Args:
        gate: `{'e': [M * D, M], 'log_tau': []}`.
        outputs: the members' outputs `[M, ..., D]`; their concatenation is scaled to a
            root mean square of 1.
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
    """Final states of a network in which a gate in each block mixes the adapters.

    The output of a block is `x + sum_i g_i E_i(x)`, where `E_i(x)` is what the block
    with adapter i adds to its input. Since the shares sum to 1, this contains the
    frozen block's output once, which MoLE writes as a separate term.

    Args:
        arch: the decoder.
        base: its parameters.
        stacked: adapters of `layers`, from `tree.stack`.
        gate: from `fresh(arch, 'mole', M)`.
        tokens, positions, segments: `[N, T]`, as in `decoder.hidden`.
        output_slots: `[N, E]`, the slots whose states are returned.

    Returns:
        States `[N, E, D]`, and the shares `[L, M, N, T]`.
    """
    rows = describe(arch, positions, segments)

    def step(x, layer):
        weights, deltas, gate, kind = layer

        def added(delta):
            return block(arch, tree.bind(weights, delta), x, rows, kind)[0] - x

        outputs = jax.vmap(added)(deltas)
        shared = shares(gate, outputs)
        total = jnp.einsum('mnt,mntd->ntd', shared, outputs.astype(jnp.float32))
        return x + total.astype(x.dtype), shared

    step = jax.checkpoint(step) if arch.remat else step
    x = decoder.read(arch, base, tokens, positions)
    layers = base[LAYERS], stacked[LAYERS], gate, kinds(arch)
    x, shared = jax.lax.scan(step, x, layers)
    states = norms.normed(arch, x, base, 'norm')
    return attention.at(states, output_slots), shared
