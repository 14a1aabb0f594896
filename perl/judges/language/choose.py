"""Rewards and preferences from the option probabilities of a language model."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from perl.judges.language.questions import Template
from perl.judges.reward import Preference, Reward, Texts

# (template, n questions {field: text}) -> the probability of each option of the
# template, float64 [n, options]; a row of NaN means no verdict.
Choose = Callable[[Template, Sequence[Mapping[str, str]]], np.ndarray]


def preference(choose: Choose, template: Template) -> Preference:
    """The preference from a template about two responses."""

    def prefer(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return _expected(choose, template, prompts, firsts, seconds)

    return prefer


def reward(choose: Choose, template: Template) -> Reward:
    """The reward from a template about one response.

    With `questions.SCORE` it is the expected score, mapped from 1..10 to [-1, 1]
    (d-RLAIF, arXiv 2309.00267). With `questions.HARMLESS` it is the probability of YES;
    its mean over responses is the harmless rate.
    """

    def score(prompts: Texts, responses: Texts) -> np.ndarray:
        return _expected(choose, template, prompts, responses)

    return score


def _expected(choose, template, *texts):
    """The expected value of the options, `[n]`, for n texts in each field."""
    columns = zip(*texts, strict=True)
    questions = [dict(zip(template.fields, row, strict=True)) for row in columns]
    if not questions:
        return np.zeros(0)
    return np.asarray(choose(template, questions), np.float64) @ template.values
