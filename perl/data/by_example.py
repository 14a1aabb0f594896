"""Batches whose first axis is the example, whatever rows its completions are in."""

from collections.abc import Sequence

from perl.data import batching
from perl.data.batching import Batch
from perl.data.examples import Examples
from perl.data.predictions import predictions


def collate(
    share_prompts: bool, data: Examples, rows: Sequence[int], multiple: int
) -> Batch:
    """A batch in which the first axis of all arrays is the example: tokens
    `[B, rows, T]`, or states `[B, K, D]` where the examples have them.

    Args:
        share_prompts: the completions of an example are in one row, after one prompt.
        data: the examples.
        rows: the indices of B examples.
        multiple: T is a multiple of it.
    """
    if data.states is not None:
        most = max(len(data.completions[i]) for i in rows)
        batch = batching.per_example(data, rows)
        return {**batch, 'states': data.states[rows, :most]}
    batch = batching.collate(data, rows, layout(share_prompts, data), multiple)
    return {
        name: x
        if name in batching.PER_EXAMPLE
        else x.reshape(len(rows), -1, *x.shape[1:])
        for name, x in batch.items()
    }


def layout(share_prompts: bool, data: Examples) -> str:
    """The layout of a batch, see `batching.collate`: a single completion has no other
    to share its prompt with."""
    shared = share_prompts and len(data.completions[0]) > 1
    return 'shared' if shared else 'apart'


def comparisons(
    share_prompts: bool, data: Examples, rows: Sequence[int], multiple: int
) -> Batch:
    """As `collate`, tokens `[B, rows, T]`, with what the completions predict."""
    batch = collate(share_prompts, data, rows, multiple)
    labels = {k: batch[k] for k in ('preferences', 'present') if k in batch}
    return predictions(batch, data.longest_completion) | labels
