"""Which examples a step trains on: a pure function of (seed, step)."""

import functools

import numpy as np

# Batches whose examples are sorted by length together.
WINDOW = 8


def order(
    n: int,
    batch_size: int,
    seed: int,
    step: int,
    lengths: np.ndarray | None = None,
) -> np.ndarray:
    """The indices of batch `step` in an endless stream of permutations of n examples.

    With `lengths` (any numbers `[n]`), the stream is cut into windows of a few batches.
    The batches of a window that lie in the same epoch are sorted by length together, so
    that a batch holds examples of like length, and then the batches of the window are
    shuffled. A batch in which one epoch ends and the next begins stays as it is: sorted
    with others, an example that is in both epochs would be twice in a batch. The stream
    visits the same examples either way, and a resume needs the step alone.

    Returns:
        int64 `[batch_size]`, indices below n.
    """
    if lengths is None:
        return _stream(n, seed, step * batch_size, batch_size)
    window, place = divmod(step, WINDOW)
    turn = np.random.default_rng((seed, window, 1)).permutation(WINDOW)[place]
    first = window * WINDOW
    epoch = _epoch(n, batch_size, first + turn)
    if epoch is None:
        return _stream(n, seed, (first + turn) * batch_size, batch_size)
    batches = range(first, first + WINDOW)
    alike = [x for x in batches if _epoch(n, batch_size, x) == epoch]
    indices = _stream(n, seed, alike[0] * batch_size, len(alike) * batch_size)
    indices = indices[np.argsort(np.asarray(lengths)[indices], kind='stable')]
    at = (first + turn - alike[0]) * batch_size
    return indices[at : at + batch_size]


def _epoch(n: int, batch_size: int, batch: int) -> int | None:
    """The epoch of a batch of the stream; None where it is in several."""
    start, end = batch * batch_size, (batch + 1) * batch_size - 1
    return start // n if start // n == end // n else None


def _stream(n: int, seed: int, start: int, count: int) -> np.ndarray:
    """Places start … start + count of the stream."""
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
