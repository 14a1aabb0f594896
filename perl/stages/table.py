"""How each kind of stage runs; `perl.config.kinds` says what it is before it runs."""

from collections.abc import Callable
from typing import Any

from perl.runs.run import Run
from perl.stages import average, dpo, ensemble, language, reward
from perl.stages.policy import stage as policy

# (run, the stage's name) -> its figures; the stage saves what it makes
STAGES: dict[str, Callable[[Run, str], dict[str, Any]]] = {
    'pretrain': language.pretrain,
    'sft': language.sft,
    'reward': reward.reward,
    'average': average.average,
    'ensemble': ensemble.ensemble,
    'policy': policy.policy,
    'dpo': dpo.dpo,
}
