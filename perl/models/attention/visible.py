"""Who sees whom in a row: the slots of tokens, their segments and their positions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Slots(NamedTuple):
    """Some slots of the rows, each array `[B or 1, T]` int32 or None.

    Attributes:
        slots: where they are in their rows.
        segments: -1 is padding, 0 is seen by every later token of the row, k > 0 by
            later tokens of the same segment. None is one segment.
        positions: what a window counts; None where there is no window.
    """

    slots: jax.Array
    segments: jax.Array | None
    positions: jax.Array | None

    def cut(self, start: int, stop: int) -> 'Slots':
        """The slots from `start` to before `stop`."""
        return jax.tree.map(lambda x: x[:, start:stop], self)

    def at(self, slots: jax.Array) -> 'Slots':
        """The given slots `[B, E]` of whole rows."""
        batch = len(slots)
        rest = self._replace(slots=None)
        rest = jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, x.shape[1])), rest)
        return at(rest, slots)._replace(slots=slots)


def whole(
    tokens: int,
    segments: jax.Array | None,
    positions: jax.Array | None,
    window: int | jax.Array | None,
) -> Slots:
    """All slots of rows of so many tokens.

    Args:
        tokens: T.
        segments: `[B, T]` int32 or None.
        positions: `[B, T]` int32, that the window counts. None counts slots.
        window: how many tokens a token sees; None sees all.
    """
    slots = jnp.arange(tokens)[None]
    if window is None:
        positions = None
    elif positions is None:
        positions = slots
    return Slots(slots, segments, positions)


def allowed(queries: Slots, keys: Slots, window: int | jax.Array | None) -> jax.Array:
    """Which keys the queries see: bool `[B, T, S]`, or `[1, T, S]` where all rows are
    alike."""
    pairs = [
        None if own is None else (own[..., None], seen[:, None])
        for own, seen in zip(queries, keys, strict=True)
    ]
    slots, segments, positions = pairs
    found = slots[0] >= slots[1]
    if positions is not None:
        found &= positions[0] - positions[1] < window
    if segments is None:
        return found
    own, seen = segments
    return found & (seen >= 0) & ((own == seen) | (seen == 0))


def at(arrays: Any, slots: jax.Array) -> Any:
    """A tree of arrays `[B, T, ...]` at `slots [B, E]`: `[B, E, ...]` each."""
    return jax.tree.map(lambda x: jax.vmap(lambda row, s: row[s])(x, slots), arrays)
