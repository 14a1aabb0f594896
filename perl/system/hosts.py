"""Several processes that compute one run together, on one machine or on many.

Each of them runs the same command. It computes on its own devices, reads its own part
of every batch, and takes part in all collective operations; the first one (process 0)
writes the files. In a process that is alone the functions here do nothing.
`perl.system.joining` says how they find each other.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from perl.system.errors import UserError


def is_first() -> bool:
    """Whether this process writes what one process writes for all."""
    return jax.process_index() == 0


def together() -> bool:
    """Whether there are several processes."""
    return jax.process_count() > 1


def name(process: int | None = None) -> str:
    """A process, by default this one, as messages call it."""
    number = jax.process_index() if process is None else process
    return f'process {number} of {jax.process_count()}'


def first(action: Callable[[], Any]) -> None:
    """Runs an action in the first process while the others wait: they have read what
    they had to read before it, and see what it has written after it."""
    wait('before')
    if is_first():
        action()
    wait('after')


def wait(what: str = 'wait') -> None:
    """Returns when all processes have come here."""
    if together():
        multihost_utils.sync_global_devices(f'perl {what}')


def agreed(asked: bool) -> bool:
    """Whether any process says yes; the same answer in all of them."""
    if not together():
        return asked
    return bool(multihost_utils.process_allgather(np.array([asked])).any())


def as_first(answer: bool) -> bool:
    """What the first process says; others may see a shared disk a little later."""
    if not together():
        return answer
    return bool(multihost_utils.broadcast_one_to_all(np.array(answer)))


def of_first(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The function, called in the first process alone: its float64 `[n]` of n texts go
    to the others. It may be slow, cost money, or answer differently when it is called
    twice.

    Args:
        function: of one or more sequences of n texts.
    """

    def called(*texts):
        if not together():
            return function(*texts)
        numbers = np.zeros(len(texts[0]))
        if is_first():
            numbers[:] = function(*texts)
        # as bytes, since JAX has no float64
        sent = multihost_utils.broadcast_one_to_all(numbers.view(np.uint8))
        return np.asarray(sent).view(np.float64)

    return called


def check_same(values: Mapping[str, str]) -> None:
    """Raises a `UserError` where a process has another text than process 0 for one of
    the names: what differs between the processes would make wrong numbers in silence.

    Args:
        values: texts by what they are, such as `config`; the same names everywhere.
    """
    if not together():
        return
    digests = [hashlib.sha256(text.encode()).digest() for text in values.values()]
    mine = np.frombuffer(b''.join(digests), np.uint8).reshape(len(digests), -1)
    every = multihost_utils.process_allgather(mine)
    differ = (every != every[:1]).any(2)  # [processes, names]
    if differ.any():
        process = int(np.flatnonzero(differ.any(1))[0])
        what = ', '.join(
            x for x, bad in zip(values, differ[process], strict=True) if bad
        )
        raise UserError(
            f'hosts: {name(process)} differs from process 0 in its {what}; every '
            'process needs the same command, files and versions'
        )
