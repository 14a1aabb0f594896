"""Turns ragged examples into rectangular batches.

A batch of B examples is a dict of numpy arrays, padded on the right (N rows, T slots):

    tokens      int32 [N, T]
    positions   int32 [N, T]   the position that the model receives
    segments    int32 [N, T]   -1 padding, 0 prompt, k >= 1 the k-th completion
    completion  bool  [N, T]   whether the token is to be predicted
    sources     int32 [N, T]   the slot whose logits predict the token
    ends        int32 [N, E]   the slot of the last token of each completion
    labels      float32 [B]
    margins, preferences
                float32 [B]    only for comparisons
    present     bool  [B, K]   only if the examples have different numbers of
                               completions: which completions exist. A missing
                               completion is filled with the last one of its example.

Slot t attends to slot s if s <= t, segments[s] >= 0, and segments[s] is 0 or
segments[t]. The segments come from lengths; no token is ever compared with pad.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.data.examples import Examples
from perl.system.errors import UserError

Batch = dict[str, np.ndarray]
LAYOUTS = ('apart', 'shared')
# the arrays of a batch that have one row per example in both layouts
COLUMNS = ('labels', 'margins', 'preferences')  # of `Examples`, float32 [n]
PER_EXAMPLE = (*COLUMNS, 'present')


def bucket(length: int, multiple: int = 32, steps: int = 8) -> int:
    """The smallest of a few sizes that is >= `length`.

    The sizes are multiples of `multiple`, of 2 * multiple from steps * 2 of these on,
    of 4 * multiple from the double of that on, and so forth: `steps` sizes for each
    doubling of the length, so there are few shapes to compile, and beyond the first
    sizes at most 1 / steps of a row of that length is padding.
    """
    while length > 2 * steps * multiple:
        multiple *= 2
    return max(-(-length // multiple), 1) * multiple


def collate(
    examples: Examples,
    indices: Sequence[int],
    layout: str = 'apart',
    multiple: int = 32,
    own: Sequence[int] | None = None,
) -> Batch:
    """The batch of B examples; K is the largest number of completions among them. With
    `own`, which counts them from 0, it has only these of them, in arrays as wide.

    Layout 'apart' has N = B * K rows, row b * K + k holding prompt b and completion k,
    all in segment 0, and E = 1. Layout 'shared' has N = B rows; a row holds the prompt
    once and then its completions in segments 1 … K, which all start at the position
    after the prompt, and E = K.

    Raises:
        UserError: an unknown layout, or examples without completions.
    """
    if layout not in LAYOUTS:
        raise UserError(f'layout {layout!r} is none of {", ".join(LAYOUTS)}')
    counts = np.array([len(examples.completions[i]) for i in indices], np.int32)
    if not len(counts) or not counts.all():
        raise UserError('a training batch needs completions; these are prompts only')
    most = counts.max()
    rows = ((examples.prompts[i], examples.learned(i)) for i in indices)
    chosen = [(prompt, _filled(learned, most)) for prompt, learned in rows]
    if layout == 'apart':
        rows = [
            [(prompt, 0, None, 0), (completion, 0, mask, len(prompt))]
            for prompt, completions in chosen
            for completion, mask in completions
        ]
    else:
        rows = [
            [(prompt, 0, None, 0)]
            + [
                (completion, k, mask, len(prompt))
                for k, (completion, mask) in enumerate(completions, 1)
            ]
            for prompt, completions in chosen
        ]
    each = len(rows) // len(indices)
    own = np.arange(len(indices)) if own is None else np.asarray(own)
    made = (own[:, None] * each + np.arange(each)).ravel()
    batch = fill(rows, examples.pad, multiple, made)
    return batch | per_example(examples, indices, own)


def per_example(
    examples: Examples, indices: Sequence[int], own: Sequence[int] | None = None
) -> Batch:
    """The arrays of a batch of B examples that have one row per example; `own` is as in
    `collate`."""
    columns = {name: getattr(examples, name) for name in COLUMNS}
    own = np.arange(len(indices)) if own is None else np.asarray(own)
    rows = np.asarray(indices)[own]
    batch = {name: x[rows] for name, x in columns.items() if x is not None}
    counts = np.array([len(examples.completions[i]) for i in indices], np.int32)
    if counts.min() < counts.max():
        batch['present'] = np.arange(counts.max()) < counts[own, None]
    return batch


def on_paper(shape: tuple[int, ...], outputs: int = 1) -> dict[str, Any]:
    """The shapes and dtypes of a batch, without arrays.

    Args:
        shape: shape of the tokens, `[..., T]`.
        outputs: E, the number of completions per row.
    """
    int32, rows = jnp.int32, shape[:-1]
    names = ('tokens', 'positions', 'segments', 'sources')
    return {
        **{name: jax.ShapeDtypeStruct(shape, int32) for name in names},
        'completion': jax.ShapeDtypeStruct(shape, jnp.bool_),
        'ends': jax.ShapeDtypeStruct((*rows, outputs), int32),
    }


def _filled(completions: tuple, count: int) -> tuple:
    return completions + completions[-1:] * (count - len(completions))


def fill(
    rows: list[list[tuple]],
    pad: int,
    multiple: int,
    made: Sequence[int] | None = None,
) -> Batch:
    """The arrays `[N, T]` of a batch, and `ends [N, E]`, of N of its rows.

    Args:
        rows: the parts of each: tokens, segment, mask or None for a prompt, and first
            position. T is long enough for all of them.
        pad: the id used as padding.
        multiple: see `bucket`.
        made: the places of the N rows; all by default.
    """
    longest = max(sum(len(part[0]) for part in row) for row in rows)
    rows = rows if made is None else [rows[i] for i in made]
    shape = (len(rows), bucket(longest, multiple))
    tokens = np.full(shape, pad, np.int32)
    positions, sources = np.zeros((2, *shape), np.int32)
    segments = np.full(shape, -1, np.int32)
    completion = np.zeros(shape, bool)
    ends = []
    for n, row in enumerate(rows):
        at, row_ends = 0, []
        for ids, segment, mask, first in row:
            slots = np.arange(at, at + len(ids))
            tokens[n, slots] = ids
            positions[n, slots] = first + slots - at
            segments[n, slots] = segment
            completion[n, slots] = False if mask is None else mask
            # The prompt's last slot predicts the first token of each completion.
            sources[n, slots] = np.maximum(slots - 1, 0)
            if mask is not None:
                sources[n, at] = first - 1
                row_ends.append(at + len(ids) - 1)
            at += len(ids)
        ends.append(row_ends)
    return {
        'tokens': tokens,
        'positions': positions,
        'segments': segments,
        'completion': completion,
        'sources': sources,
        'ends': np.array(ends, np.int32),
    }


def left(prompts: Sequence[np.ndarray], pad: int = 0, multiple: int = 32) -> Batch:
    """Pads prompts for sampling on the left to P slots.

    Returns:
        tokens, int32 `[B, P]`, and lengths, int32 `[B]`.
    """
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    tokens = np.full((len(prompts), bucket(int(lengths.max()), multiple)), pad)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[len(row) - len(prompt) :] = prompt
    return {'tokens': tokens.astype(np.int32), 'lengths': lengths}
