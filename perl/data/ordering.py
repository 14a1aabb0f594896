"""Chooses the examples of a batch; those of a training step are a pure function of
(seed, step)."""

import functools
from collections.abc import Iterator

import numpy as np

from perl.data.examples import Examples

# Number of batches whose examples are sorted by length together.
WINDOW = 16


def order(
    n: int,
    batch_size: int,
    seed: int,
    step: int,
    lengths: np.ndarray | None = None,
) -> np.ndarray:
    """The indices of batch `step` in an endless stream of permutations of n examples.

    With `lengths` (any numbers `[n]`), the stream is cut into windows of a few batches.
    The batches of a window in the same epoch are sorted by length together, so that a
    batch holds examples of similar length; then the batches of the window are shuffled.
    A batch in which one epoch ends and the next begins is not sorted: otherwise more
    examples would be in a batch twice, once of each epoch. The stream visits the same
    examples with and without `lengths`, and a resume needs only the step.

    Returns:
        int64 `[batch_size]`, indices below n.
    """
    if lengths is None:
        return _stream(n, seed, step * batch_size, batch_size)
    window, place = divmod(step, WINDOW)
    shuffled = np.random.default_rng((seed, window, 1)).permutation(WINDOW)[place]
    first = window * WINDOW
    batch = first + shuffled
    epoch = _epoch(n, batch_size, batch)
    if epoch is None:
        return _stream(n, seed, batch * batch_size, batch_size)
    batches = range(first, first + WINDOW)
    same_epoch = [x for x in batches if _epoch(n, batch_size, x) == epoch]
    count = len(same_epoch) * batch_size
    indices = _stream(n, seed, same_epoch[0] * batch_size, count)
    indices = indices[np.argsort(np.asarray(lengths)[indices], kind='stable')]
    start = (batch - same_epoch[0]) * batch_size
    return indices[start : start + batch_size]


def shapes(examples: Examples) -> np.ndarray:
    """Sort keys for `order`, int64 `[n]`: first completion count, then the tokens of
    the prompt and of all completions.

    Neighbours in that order have the same number of completions and rows of about the
    same length, so a batch of them has little padding. The order is the same whether
    completions share a row or not.
    """
    rows = zip(examples.prompts, examples.completions, strict=True)
    lengths = [len(prompt) + sum(map(len, said)) for prompt, said in rows]
    return examples.completion_counts * np.int64(2**32) + np.array(lengths, np.int64)


def slices(total: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of equal size that cover `total` examples: int64 `[size]` indices, and
    how many are new, since the last batch is filled up with the first examples."""
    for at in range(0, total, size):
        yield np.arange(at, at + size) % total, min(size, total - at)


def once(examples: Examples, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """As `slices`, indices `[size]` of all examples in the order of `shapes`."""
    by_length = np.argsort(shapes(examples), kind='stable')
    for places, new in slices(len(examples), size):
        yield by_length[places], new


def _epoch(n: int, batch_size: int, batch: int) -> int | None:
    """The epoch of a batch of the stream; None if the batch is in several epochs."""
    start, end = batch * batch_size, (batch + 1) * batch_size - 1
    return start // n if start // n == end // n else None


def _stream(n: int, seed: int, start: int, count: int) -> np.ndarray:
    """The elements start … start + count - 1 of the stream."""
    epochs, offsets = np.divmod(np.arange(start, start + count), n)
    return np.array(
        [
            _permutation(n, seed, int(epoch))[offset]
            for epoch, offset in zip(epochs, offsets, strict=True)
        ]
    )


@functools.lru_cache(4)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    permutation = np.random.default_rng((seed, epoch)).permutation(n)
    permutation.setflags(write=False)
    return permutation
