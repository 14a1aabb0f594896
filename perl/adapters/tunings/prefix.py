"""Prefix tuning: trained keys and values of every layer."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from perl.adapters.tunings.base import Tuning
from perl.weights import LAYERS, Adapter, Leaf, Prefix


@dataclasses.dataclass(frozen=True)
class PrefixTuning(Tuning):
    """Keys and values that every token attends to (arXiv 2101.00190), behind a gate
    that begins at zero (arXiv 2303.16199); see `perl.weights.prefix`.

    Attributes:
        slots: keys and values of a layer.
    """

    slots: int = 16
    name: str = 'prefix'
    adapter: ClassVar[type[Adapter]] = Prefix

    def declare(self, leaves: Any) -> Any:
        """The slots of all layers, with a `Leaf` in the place of each array."""
        attention = leaves[LAYERS]['attention']
        (layers, _, heads, _), (*_, kv_heads, width) = (
            attention[name].shape for name in ('q', 'k')
        )
        slots = Leaf(
            (layers, self.slots, kv_heads, width),
            (LAYERS, None, 'kv_heads', 'head'),
            1,
            width**-0.5,
        )
        gate = Leaf((layers, heads), (LAYERS, 'heads'), 0, 0.0)
        return {LAYERS: {'attention': {'prefix': Prefix(slots, slots, gate)}}}

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """Slots whose gate is closed: keys and values normal with variance `1 / N`,
        float32 `[L, S, K, N]`, and gates `[L, H]` of zero."""
        del base
        said = self.declare(leaves)[LAYERS]['attention']['prefix']
        k, v = (
            jax.random.normal(own, said.k.shape, jnp.float32) * said.k.std
            for own in jax.random.split(key)
        )
        prefix = Prefix(k, v, jnp.zeros(said.gate.shape, jnp.float32))
        return {LAYERS: {'attention': {'prefix': prefix}}}

    @property
    def label(self) -> str:
        """`prefix s=16`."""
        return f'{self.name} s={self.slots}'
