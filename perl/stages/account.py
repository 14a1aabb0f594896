"""What a stage trained and what it cost: the figures that every stage reports."""

from collections.abc import Sequence
from typing import Any

from perl.adapters import tree
from perl.models import heads
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.weights import abstract


def account(
    run: Run, stage: str, trained: Sequence[Role], took: dict[str, float]
) -> dict[str, Any]:
    """Figures with stable keys.

    `trainable` counts what the roles train, `total` all that they compute with: a base
    that two of them share counts twice, for each of them is a model of that size.

    Args:
        run: what all stages share.
        stage: its name.
        trained: the roles that the stage trained.
        took: seconds, step_bytes and peak_bytes, from `fit`.
    """
    config = run.config[stage]
    trainable = sum(tree.size(role.delta) for role in trained)
    total = sum(
        tree.size(abstract(run.leaves)) + tree.size(role.delta.get(heads.HEAD, {}))
        for role in trained
    )
    return {
        'kind': config.kind,
        'tuning': trained[0].label,
        'trainable': trainable,
        'total': total,
        'trainable_share': trainable / total,
        'steps': config.steps,
        **took,
    }
