"""The two functions of every judge: `Reward` and `Preference`.

A `Reward` scores single responses, a `Preference` compares two responses to one prompt.
Reward models and their ensembles, language models, exact rewards, files of recorded
answers and a user's Python functions provide one or both of them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perl.judges.panel import Panel
from perl.system.errors import UserError

Texts = Sequence[str]

# (prompts, responses) -> float [n]: how good each response is; each judge has its
# scale; NaN means no verdict.
Reward = Callable[[Texts, Texts], np.ndarray]

# (prompts, firsts, seconds) -> float [n] in [0, 1]: the probability that the first
# response is better than the second; NaN means no verdict. The answer may depend on the
# order of the two.
Preference = Callable[[Texts, Texts, Texts], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Judge:
    """A judge, opened by its name.

    Attributes:
        name: its name in a config or on the command line.
        preference: compares two responses.
        reward: scores one response; None for a judge that can only compare.
        panel: the reward models of a judge that consists of them; a compiled program
            computes the same rewards with it from token ids.
        report: returns counts so far, such as requests to a server.
        model: the name of the language model; '' for other judges.
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
    """A reward that calls `score` for each (prompt, response)."""
    return lambda prompts, responses: np.array(
        list(map(score, prompts, responses)), np.float64
    )


def preference(reward: Reward) -> Preference:
    """The preference from a reward: 1 if the first reward is higher, 0 if lower.

    Equal rewards give 0.5, a NaN reward gives NaN. The reward must be deterministic:
    each (prompt, response) is scored once and cached.
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
    """Rewards for reinforcement learning, where each response needs a number.

    A response without a verdict gets the mean reward of the others, which makes it
    neither better nor worse than the average.

    Returns:
        The rewards, float32 `[n]`, and the share of responses without a verdict.

    Raises:
        UserError: half or more of the responses have no verdict.
    """
    rewards = np.asarray(scores(judge)(prompts, responses), np.float64)
    known = np.isfinite(rewards)
    if 2 * known.sum() <= len(rewards):
        raise UserError(
            f'{judge.name}: it scored only {known.sum()} of {len(rewards)} responses; '
            'test it on a few responses, or use another judge'
        )
    rewards = np.where(known, rewards, rewards[known].mean())
    return rewards.astype(np.float32), float(1 - known.mean())
