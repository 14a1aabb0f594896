"""How each kind of stage runs; `perl.config.kinds` says what it is before it runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from perl.models.architecture import Architecture
from perl.runs.run import Run
from perl.stages import average, dpo, ensemble, gate, language, reward
from perl.stages.policy import stage as policy
from perl.stages.policy.plan import plan as policy_plan
from perl.training.plan import Plan


@dataclasses.dataclass(frozen=True)
class Stage:
    """How a kind of stage runs.

    Attributes:
        run: `(run, name)` trains, saves what the stage makes, and returns its figures.
        plan: `(arch, config, name)` is its training step on paper; None where the
            stage, or this one of its kind, takes no steps.
    """

    run: Callable[[Run, str], dict[str, Any]]
    plan: Callable[[Architecture, ConfigDict, str], Plan | None]


STAGES: dict[str, Stage] = {
    'pretrain': Stage(language.pretrain, language.plan),
    'sft': Stage(language.sft, language.plan),
    'reward': Stage(reward.reward, reward.plan),
    'average': Stage(average.average, lambda arch, config, stage: None),
    'ensemble': Stage(ensemble.ensemble, gate.plan),
    'policy': Stage(policy.policy, policy_plan),
    'dpo': Stage(dpo.dpo, dpo.plan),
}
