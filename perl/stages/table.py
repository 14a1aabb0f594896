"""How each kind of stage runs; `perl.config.kinds` says what it is before it runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from perl.models.architecture import Architecture
from perl.runs.run import Run
from perl.stages import average, dpo, ensemble, gate, language, reward
from perl.stages.policy import programs as policy_programs
from perl.stages.policy import stage as policy
from perl.stages.policy.plan import plan as policy_plan
from perl.training.compiled import Program
from perl.training.plan import Plan


def _one_step(plan, arch, config, name, mesh):
    return {'step': Program(plan.update().lower(*plan.abstract(mesh)))}


@dataclasses.dataclass(frozen=True)
class Stage:
    """How a kind of stage runs.

    Attributes:
        run: `(run, name)` trains, saves what the stage makes, and returns its figures.
        plan: `(arch, config, name)` is its training step on paper; None where the
            stage, or this one of its kind, takes no steps.
        programs: `(plan, arch, config, name, mesh)` are its programs by name, lowered
            for a mesh that need not exist.
    """

    run: Callable[[Run, str], dict[str, Any]]
    plan: Callable[[Architecture, ConfigDict, str], Plan | None]
    programs: Callable[..., dict[str, Program]] = _one_step


STAGES: dict[str, Stage] = {
    'pretrain': Stage(language.pretrain, language.plan),
    'sft': Stage(language.sft, language.plan),
    'reward': Stage(reward.reward, reward.plan),
    'average': Stage(average.average, lambda arch, config, stage: None),
    'ensemble': Stage(ensemble.ensemble, gate.plan),
    'policy': Stage(policy.policy, policy_plan, policy_programs.lowered),
    'dpo': Stage(dpo.dpo, dpo.plan),
}
