"""Batches whose first axis is the example, whatever rows its completions are in."""

from collections.abc import Sequence

import numpy as np

from perl.data import batching
from perl.data.batching import Batch
from perl.data.examples import Examples
from perl.data.predictions import predictions

SHARE_PROMPTS = ('auto', 'always', 'never')


def collate(
    share_prompts: str,
    data: Examples,
    rows: Sequence[int],
    multiple: int,
    own: Sequence[int] | None = None,
) -> Batch:
    """A batch in which the first axis of all arrays is the example: tokens
    `[B, rows, T]`, or states `[B, K, D]` where the examples have them.

    Args:
        share_prompts: whether the completions of an example are in one row, after one
            prompt, see `shares`.
        data: the examples.
        rows: the indices of B examples.
        multiple: T is a multiple of it.
        own: only these examples of the batch, see `batching.collate`.
    """
    own = np.arange(len(rows)) if own is None else np.asarray(own)
    if data.states is not None:
        most = max(len(data.completions[i]) for i in rows)
        batch = batching.per_example(data, rows, own)
        return {**batch, 'states': data.states[np.asarray(rows)[own], :most]}
    shared = len(data.completions[0]) > 1 and shares(share_prompts, *data.mean_lengths)
    layout = 'shared' if shared else 'apart'
    batch = batching.collate(data, rows, layout, multiple, own=own)
    return {
        name: x
        if name in batching.PER_EXAMPLE
        else x.reshape(len(own), -1, *x.shape[1:])
        for name, x in batch.items()
    }


def shares(share_prompts: str, prompt: float, completion: float) -> bool:
    """Whether a prompt is encoded once for all its completions: always, never, or, with
    `auto`, where that is less work (docs/performance.md): where prompts are as long as
    completions or longer.

    Args:
        share_prompts: one of `SHARE_PROMPTS`.
        prompt: tokens of a prompt, of all examples in the mean.
        completion: tokens of a completion likewise.
    """
    return {'always': True, 'never': False}.get(share_prompts, prompt >= completion)


def comparisons(
    share_prompts: str,
    data: Examples,
    rows: Sequence[int],
    multiple: int,
    own: Sequence[int] | None = None,
) -> Batch:
    """As `collate`, tokens `[B, rows, T]`, with what the completions predict."""
    batch = collate(share_prompts, data, rows, multiple, own)
    labels = {k: batch[k] for k in ('preferences', 'present') if k in batch}
    return predictions(batch, data.longest_completion) | labels
