"""Ragged examples to rectangular batches, and the order in which they come.

A batch of B examples is a dict of numpy arrays, padded on the right (N rows, T slots):

    tokens      int32 [N, T]
    positions   int32 [N, T]   the position that the model is told
    segments    int32 [N, T]   -1 padding, 0 prompt, k >= 1 the k-th completion
    completion  bool  [N, T]   the token is one to be predicted
    sources     int32 [N, T]   the slot whose logits predict the token
    ends        int32 [N, E]   the slot of the last token of each completion
    labels      float32 [B]
    margins, preferences
                float32 [B]    of comparisons
    present     bool  [B, K]   only where examples have different numbers of
                               completions: which ones are there. In the place of
                               one that is not stands the last one of its example.

Slot t may look at slot s when s <= t, segments[s] >= 0, and segments[s] is 0 or
segments[t]. All of it comes from lengths; no token is ever compared with pad.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.data.examples import Examples
from perl.data.ordering import order
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError

Batch = dict[str, np.ndarray]
LAYOUTS = ('apart', 'shared')
# the arrays of a batch that have a row for each example, whatever the layout
COLUMNS = ('labels', 'margins', 'preferences')  # of `Examples`, float32 [n]
PER_EXAMPLE = (*COLUMNS, 'present')

__all__ = ['Batch', 'bucket', 'collate', 'left', 'order', 'pack', 'shapes']


def bucket(length: int, multiple: int = 32) -> int:
    """The smallest of multiple * (1, 2, 3, 4, 6, 8, 12, 16, …) that holds `length`.

    A geometric set: few distinct shapes to compile, at most half of a row wasted.
    """
    size = multiple
    while size < length:
        if size % (2 * multiple) == 0 and size * 3 // 2 >= length:
            return size * 3 // 2
        size *= 2
    return size


def shapes(examples: Examples, multiple: int = 32) -> np.ndarray:
    """A number for each example, int64 `[n]`, by which `order` brings like to like.

    Examples of the same number have as many completions and rows of one padded length,
    so a batch of them pads little. The number of completions comes first.
    """
    padded = [bucket(int(length), multiple) for length in examples.lengths]
    return examples.completion_counts * np.int64(2**32) + np.array(padded, np.int64)


def collate(
    examples: Examples,
    indices: Sequence[int],
    layout: str = 'apart',
    multiple: int = 32,
) -> Batch:
    """The batch of B examples with K completions each, K the most that one of them has.

    Layout 'apart' has N = B * K rows, row b * K + k holding prompt b and completion k,
    all in segment 0, and E = 1. Layout 'shared' has N = B rows, each the prompt once
    and then its completions in segments 1 … K, all starting at the position that
    follows the prompt, and E = K.

    Raises:
        UserError: an unknown layout, or examples without completions.
    """
    if layout not in LAYOUTS:
        raise UserError(f'layout {layout!r} is none of {", ".join(LAYOUTS)}')
    counts = np.array([len(examples.completions[i]) for i in indices], np.int32)
    if not len(counts) or not counts.all():
        raise UserError('a training batch needs completions; these are bare prompts')
    chosen = [
        (examples.prompts[i], _filled(examples.completions[i], counts.max()))
        for i in indices
    ]
    if layout == 'apart':
        rows = [
            [(prompt, 0, False, 0), (completion, 0, True, len(prompt))]
            for prompt, completions in chosen
            for completion in completions
        ]
    else:
        rows = [
            [(prompt, 0, False, 0)]
            + [
                (completion, k, True, len(prompt))
                for k, completion in enumerate(completions, 1)
            ]
            for prompt, completions in chosen
        ]
    batch = _fill(rows, examples.pad, multiple)
    for name in COLUMNS:
        values = getattr(examples, name)
        if values is not None:
            batch[name] = values[np.asarray(indices)]
    if counts.min() < counts.max():
        batch['present'] = np.arange(counts.max()) < counts[:, None]
    return batch


def on_paper(shape: tuple[int, ...], outputs: int = 1) -> dict[str, Any]:
    """The arrays of a batch of rows as shapes and dtypes.

    Args:
        shape: of the tokens, `[..., T]`.
        outputs: E, completions of a row.
    """
    int32, rows = jnp.int32, shape[:-1]
    names = ('tokens', 'positions', 'segments', 'sources')
    return {
        **{name: jax.ShapeDtypeStruct(shape, int32) for name in names},
        'completion': jax.ShapeDtypeStruct(shape, jnp.bool_),
        'ends': jax.ShapeDtypeStruct((*rows, outputs), int32),
    }


def _filled(completions: tuple[np.ndarray, ...], count: int) -> tuple[np.ndarray, ...]:
    return completions + completions[-1:] * (count - len(completions))


def _fill(rows: list[list[tuple]], pad: int, multiple: int) -> Batch:
    """Rows of (tokens, segment, is a completion, first position) parts, laid out."""
    longest = max(sum(len(part[0]) for part in row) for row in rows)
    shape = (len(rows), bucket(longest, multiple))
    tokens = np.full(shape, pad, np.int32)
    positions, sources = np.zeros((2, *shape), np.int32)
    segments = np.full(shape, -1, np.int32)
    completion = np.zeros(shape, bool)
    ends = []
    for n, row in enumerate(rows):
        at, row_ends = 0, []
        for ids, segment, target, first in row:
            slots = np.arange(at, at + len(ids))
            tokens[n, slots] = ids
            positions[n, slots] = first + slots - at
            segments[n, slots] = segment
            completion[n, slots] = target
            # The first token of any completion is predicted at the prompt's last slot.
            sources[n, slots] = np.maximum(slots - 1, 0)
            if target:
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
    """Prompts to sample from, padded on the left to P slots.

    Returns:
        tokens, int32 `[B, P]`, and lengths, int32 `[B]`.
    """
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    tokens = np.full((len(prompts), bucket(int(lengths.max()), multiple)), pad)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[len(row) - len(prompt) :] = prompt
    return {'tokens': tokens.astype(np.int32), 'lengths': lengths}


def pack(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Batch:
    """Documents packed into rows of `length` slots: a batch of all of them.

    A document is bos, its text, eos; one longer than a row goes on in another, without
    a token lost. Documents in a row are segments 1, 2, … and do not see each other;
    positions restart; every token but the first of a document is to be predicted.
    `ends` `[N, 1]` is the last slot in use, `labels` float32 `[N]` is 1. Rows are
    filled best-fit, the longest documents first, so they must be drawn in a shuffled
    order.

    Raises:
        UserError: no text, or a row too short for two tokens.
    """
    if length < 2:
        raise UserError(f'a packed row of {length} tokens has nothing to predict')
    pieces = [
        piece for text in texts for piece in _pieces(text, tokenizer, length) if text
    ]
    if not pieces:
        raise UserError('there is no text to pack')
    rows: list[list[np.ndarray]] = []
    room: list[list[int]] = [[] for _ in range(length + 1)]
    for piece in sorted(pieces, key=len, reverse=True):
        space = next((s for s in range(len(piece), length + 1) if room[s]), length)
        if room[space]:
            row = room[space].pop()
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(piece)
        if space > len(piece):
            room[space - len(piece)].append(row)
    parts = [[(ids, k, False, 0) for k, ids in enumerate(row, 1)] for row in rows]
    batch = _fill(parts, tokenizer.pad, length)
    batch['completion'] = (batch['segments'] > 0) & (batch['positions'] > 0)
    batch['ends'] = (batch['segments'] > 0).sum(1, keepdims=True, dtype=np.int32) - 1
    batch['labels'] = np.ones(len(rows), np.float32)
    return batch


def _pieces(text: str, tokenizer: Tokenizer, length: int) -> list[np.ndarray]:
    """A document cut to rows; each piece begins with the last token of the one before,
    so that no token goes unpredicted."""
    ids = [tokenizer.bos, *tokenizer.encode(text, start=True), tokenizer.eos]
    ids = np.array(ids, np.int32)
    return [ids[at : at + length] for at in range(0, len(ids) - 1, length - 1)]


def slices(total: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of one size that cover `total` examples: int64 `[size]` indices, and how
    many of them are new, since the last batch is filled up with the first examples."""
    for at in range(0, total, size):
        yield np.arange(at, at + size) % total, min(size, total - at)
