"""Preferences of labellers: asked in both orders, averaged, or handed to a win rate."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from perl.judges.language.questions import Template
from perl.system.errors import UserError

Texts = Sequence[str]

# (prompts, firsts, seconds) -> how likely each first is the better, float64 [n] in
# [0, 1]; NaN where there is no verdict. It may mind the order.
Ask = Callable[[Texts, Texts, Texts], np.ndarray]

# The same, but never NaN (0.5 instead), and exchanging the two gives exactly 1 - p.
Labeller = Callable[[Texts, Texts, Texts], np.ndarray]

# (prompts, responses) -> scores, float64 [n]; NaN where there is no verdict.
Rater = Callable[[Texts, Texts], np.ndarray]

# (template, n questions {field: text}) -> the probability of each option, float64
# [n, options]; a row of NaN where there is no verdict.
Choose = Callable[[Template, Sequence[Mapping[str, str]]], np.ndarray]

# Preferences are multiples of this, so that 1 - p is exact.
_STEP = 2.0**-33


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a labeller said of n pairs, in both orders.

    Attributes:
        forward: float64 [n], how likely the first is the better when shown first.
        backward: float64 [n], how likely the *second* is when it is shown first.
    """

    forward: np.ndarray
    backward: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Bool [n]: whether there is a verdict in both orders."""
        return np.isfinite(self.forward) & np.isfinite(self.backward)

    @property
    def preferences(self) -> np.ndarray:
        """float64 [n] in [0, 1]: the mean of both orders; 0.5 where one is missing."""
        apart = np.where(self.known, self.forward - self.backward, 0.0)
        return 0.5 + np.round(apart / 2 / _STEP) * _STEP

    @property
    def position_bias(self) -> float:
        """The share of known pairs where the same place won twice; 0 of none."""
        a, b = self.forward[self.known] - 0.5, self.backward[self.known] - 0.5
        return float(np.mean(a * b > 0)) if len(a) else 0.0


def both_orders(ask: Ask, prompts: Texts, firsts: Texts, seconds: Texts) -> Labels:
    """Asks about every pair both ways round, in one call.

    Raises:
        UserError: the numbers of texts differ, or an answer is no probability.
    """
    n = len(prompts)
    if not n == len(firsts) == len(seconds):
        raise UserError(
            f'labels: {n} prompts with {len(firsts)} and {len(seconds)} responses; '
            'give each prompt one of either'
        )
    if not n:
        return Labels(np.zeros(0), np.zeros(0))
    said = ask([*prompts] * 2, [*firsts, *seconds], [*seconds, *firsts])
    said = np.asarray(said, np.float64)
    if said.shape != (2 * n,) or ((said < 0) | (said > 1)).any():
        raise UserError(
            f'labels: the labeller answered {2 * n} questions with shape {said.shape}, '
            'or with a number outside [0, 1]; mend the labeller'
        )
    return Labels(said[:n], said[n:])


def labeller(ask: Ask) -> Labeller:
    """The labeller that asks in both orders and averages (RLAIF, section 2.1)."""
    return lambda *pairs: both_orders(ask, *pairs).preferences


@dataclasses.dataclass
class Asking:
    """A judge for `winrate.win_rate`: 1, 0.5 or 0; no verdict is a tie, and counted.

    Give it what minds the order: a win rate asks both ways by itself, and only a
    verdict that holds both times counts.

    Attributes:
        ask: how likely the first is the better.
        unanswered: questions without a verdict so far.
    """

    ask: Ask
    unanswered: int = 0

    def __call__(self, prompts: Texts, first: Texts, second: Texts) -> np.ndarray:
        said = np.asarray(self.ask(prompts, first, second), np.float64)
        known = np.isfinite(said)
        self.unanswered += int((~known).sum())
        return np.where(known, 0.5 + np.sign(said - 0.5) / 2, 0.5)


def ask(choose: Choose, template: Template) -> Ask:
    """The pairwise question of a template as an `Ask`."""

    def asked(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return _worth(choose, template, prompts, firsts, seconds)

    return asked


def rater(choose: Choose, template: Template) -> Rater:
    """The question of a template on single responses as a `Rater`.

    With `templates.SCORE` the expected score at [-1, 1] (d-RLAIF), with
    `templates.HARMLESS` the probability of YES; its mean is the harmless rate.
    """

    def rated(prompts: Texts, responses: Texts) -> np.ndarray:
        return _worth(choose, template, prompts, responses)

    return rated


def rewards(rater: Rater, prompts: Texts, responses: Texts) -> np.ndarray:
    """Rewards float32 [n] for reinforcement learning without a reward model.

    A response that the rater says nothing about gets 0, the middle of the scale.

    Raises:
        UserError: the rater says nothing about half of the responses or more.
    """
    scores = np.asarray(rater(prompts, responses), np.float64)
    known = np.isfinite(scores)
    if 2 * known.sum() <= len(scores):
        raise UserError(
            f'rater: it scored only {known.sum()} of {len(scores)} responses; try it '
            'on a few by hand, or take another'
        )
    return np.where(known, scores, 0.0).astype(np.float32)


def _worth(choose, template, *texts):
    columns = zip(*texts, strict=True)
    questions = [dict(zip(template.fields, row, strict=True)) for row in columns]
    if not questions:
        return np.zeros(0)
    return np.asarray(choose(template, questions), np.float64) @ template.values
