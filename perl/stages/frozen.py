"""The arrays that the loss of a policy reads and no update changes."""

import dataclasses
import functools
from typing import Any

import jax

from perl.adapters.network import Network
from perl.judges.panel import Panel


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['policy', 'value', 'reference', 'start', 'reward'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Frozen:
    """The frozen part of every role; bases are the same arrays in several of them.

    Attributes:
        policy: the base of the policy; an empty dict where its delta holds every
            weight.
        value: the base of the value, in the same way; None where no value is trained.
        reference: what the KL is measured from.
        start: what the policy began as, where the reference moves; the KL is reported
            from there.
        reward: the reward models, where they score the responses.
    """

    policy: Any
    value: Any = None
    reference: Network | None = None
    start: Network | None = None
    reward: Panel | None = None
