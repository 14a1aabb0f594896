"""The figures of a finished policy: it plays against what it is compared with."""

import time
from typing import Any

from perl.config import lineage
from perl.evaluation.compare import compare, held_out_prompts
from perl.judges import Judge
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import metrics


def compared(
    run: Run, stage: str, policy: Role, reference: Role, reward: Judge | None
) -> dict[str, Any]:
    """Compares a policy with its reference on the prompts of the test split, and adds
    the responses to the samples of its stage.

    Args:
        run: what all stages share.
        stage: that made the policy.
        policy, reference: the two.
        reward: scores both; None for no scores.

    Returns:
        evaluation_seconds, and the figures of `evaluation.compare.compare`. Nothing
        where the data set has no prompts to ask in its test split.
    """
    if not held_out_prompts(run, 'test'):  # DPO needs neither prompts nor a test split
        return {}
    began = time.monotonic()
    trained_by = lineage.trained_by(run.config, stage)
    figures, rows = compare(
        run, policy, reference, reward, 'test', trained_by=trained_by
    )
    metrics.append_samples(run.workdir / stage, rows)
    return {'evaluation_seconds': time.monotonic() - began, **figures}
