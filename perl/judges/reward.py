"""How good a response is: the two functions that every judge comes down to.

A `Reward` scores single responses, a `Preference` compares two responses to one prompt.
Reward models and their ensembles, language models, exact rewards, files of recorded
answers and Python functions of a user all are one of the two, or both.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perl.judges.panel import Panel
from perl.system.errors import UserError

Texts = Sequence[str]

# (prompts, responses) -> float [n]: how good each response is, on a scale of the
# judge's own; NaN where the judge has no verdict.
Reward = Callable[[Texts, Texts], np.ndarray]

# (prompts, firsts, seconds) -> float [n] in [0, 1]: the probability that the first
# response is better than the second; NaN where the judge has no verdict. The answer may
# depend on the order of the two.
Preference = Callable[[Texts, Texts, Texts], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Judge:
    """What the name of a judge stands for, opened and ready to be asked.

    Attributes:
        name: as a config or the command line gives it.
        preference: compares two responses.
        reward: scores one response; None for a judge that can only compare.
        panel: the reward models, where the judge is made of them: a compiled program
            gives the rewards of `reward` with it, straight from token ids.
        report: counts of what the judge did so far, such as requests to a server.
        model: of a language model its name; '' for every other judge.
    """

    name: str
    preference: Preference
    reward: Reward | None = None
    panel: Panel | None = None
    report: Callable[[], dict[str, Any]] = dict
    model: str = ''


def scores(judge: Judge) -> Reward:
    """The reward of a judge that must have one.

    Raises:
        UserError: the judge can only compare.
    """
    if judge.reward is None:
        raise UserError(
            f'{judge.name} compares two responses and does not score a single one; '
            'name a judge that does, such as a reward model or a Python function'
        )
    return judge.reward


def each(score: Callable[[str, str], float]) -> Reward:
    """The reward that scores one (prompt, response) after the other."""
    return lambda prompts, responses: np.array(
        list(map(score, prompts, responses)), np.float64
    )


def preference(reward: Reward) -> Preference:
    """The preference of a judge that scores: 1 for the higher reward, 0 for the lower.

    Equal rewards give 0.5, and NaN where a reward is NaN. The reward must be
    deterministic: each (prompt, response) is scored once and then remembered.
    """
    known: dict[tuple[str, str], float] = {}

    def prefer(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        asked = [
            *zip(prompts, firsts, strict=True),
            *zip(prompts, seconds, strict=True),
        ]
        new = [pair for pair in dict.fromkeys(asked) if pair not in known]
        if new:
            rewards = reward(*map(list, zip(*new, strict=True)))
            known.update(zip(new, map(float, rewards), strict=True))
        first, second = np.array([known[pair] for pair in asked]).reshape(2, -1)
        better = np.where(first == second, 0.5, first > second)
        return np.where(np.isnan(first) | np.isnan(second), np.nan, better)

    return prefer


def training_rewards(
    judge: Judge, prompts: Texts, responses: Texts
) -> tuple[np.ndarray, float]:
    """Rewards for reinforcement learning, where each response needs one.

    A response without a verdict gets the mean of the others' rewards, so that it is
    neither better nor worse than they are.

    Returns:
        The rewards, float32 [n], and the share of responses without a verdict.

    Raises:
        UserError: half of the responses or more have no verdict.
    """
    rewards = np.asarray(scores(judge)(prompts, responses), np.float64)
    known = np.isfinite(rewards)
    if 2 * known.sum() <= len(rewards):
        raise UserError(
            f'{judge.name}: it scored only {known.sum()} of {len(rewards)} responses; '
            'try it on a few by hand, or take another judge'
        )
    rewards = np.where(known, rewards, rewards[known].mean())
    return rewards.astype(np.float32), float(1 - known.mean())
