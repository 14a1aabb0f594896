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

    With `lengths` [n], the stream is cut into windows of a few batches, each sorted by
    length and its batches shuffled, so that a batch holds examples of like length. The
    stream visits the same examples either way, and a resume needs the step alone.

    Returns:
        int64 [batch_size] indices below n.
    """
    if lengths is None:
        return _stream(n, seed, step * batch_size, batch_size)
    window, place = divmod(step, WINDOW)
    indices = _stream(n, seed, window * WINDOW * batch_size, WINDOW * batch_size)
    indices = indices[np.argsort(np.asarray(lengths)[indices], kind='stable')]
    turn = np.random.default_rng((seed, window, 1)).permutation(WINDOW)[place]
    return indices[turn * batch_size : (turn + 1) * batch_size]


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
