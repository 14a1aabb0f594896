"""What a stage trained and what it cost: the figures that every stage reports."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import tree
from perl.models import heads
from perl.runs.roles import Role
from perl.weights import abstract


def account(
    section: ConfigDict, leaves: Any, trained: Sequence[Role], took: dict[str, float]
) -> dict[str, Any]:
    """Figures with stable keys.

    `trainable` counts what the roles train, `total` all that they compute with: a base
    that two of them share counts twice, for each of them is a model of that size.

    Args:
        section: the config of the stage.
        leaves: the declared parameters of the decoder.
        trained: the roles that the stage trained.
        took: seconds, step_bytes and peak_bytes, from `fit`.
    """
    base = tree.size(abstract(leaves))
    trainable = sum(_trained(role, leaves) for role in trained)
    total = sum(base + tree.size(role.delta.get(heads.HEAD, {})) for role in trained)
    return {
        'kind': section.kind,
        'tuning': trained[0].label,
        'trainable': trainable,
        'total': total,
        'trainable_share': trainable / total,
        'steps': section.steps,
        **took,
    }


def _trained(role, leaves):
    """The numbers of a delta without those that its tuning keeps as they are."""
    kept = tree.size(abstract(role.tuning.kept(leaves))) if role.tuning else 0
    return tree.size(role.delta) - kept
