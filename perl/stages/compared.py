"""Compares a finished policy with its reference, and keeps its samples."""

import pathlib
import time
from typing import Any

from perl.evaluation.compare import compare, held_out_prompts
from perl.judges import Judge
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import samples


def compared(
    run: Run,
    folder: pathlib.Path,
    policy: Role,
    reference: Role,
    reward: Judge | None,
    trained_by: tuple[str, str],
) -> dict[str, Any]:
    """Compares a policy with its reference on the prompts of the test split, and adds
    the responses to the samples of its stage.

    Args:
        run: what all stages share.
        folder: of the stage that made the policy.
        policy, reference: the two.
        reward: scores both; None for no scores.
        trained_by: the reward that trained the policy, see `lineage.trained_by`.

    Returns:
        evaluation_seconds, and the figures of `evaluation.compare.compare`. Nothing
        where the dataset has no prompts to ask in its test split.
    """
    if not held_out_prompts(run, 'test'):  # DPO needs neither prompts nor a test split
        return {}
    began = time.monotonic()
    figures, rows = compare(
        run, policy, reference, reward, 'test', trained_by=trained_by
    )
    samples.append(folder, rows)
    return {'evaluation_seconds': time.monotonic() - began, **figures}
