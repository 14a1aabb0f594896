"""AI feedback: labels and scores of a language model, an endpoint, a pool, a file."""

from perl.judges.asking import (
    Ask,
    Asking,
    Choose,
    Labeller,
    Labels,
    Rater,
    ask,
    both_orders,
    labeller,
    rater,
    rewards,
)
from perl.judges.language.answers import Answers, remembered
from perl.judges.language.questions import HARMLESS, PAIRWISE, SCORE, Template

__all__ = [
    'HARMLESS',
    'PAIRWISE',
    'SCORE',
    'Answers',
    'Ask',
    'Asking',
    'Choose',
    'Labeller',
    'Labels',
    'Rater',
    'Template',
    'ask',
    'both_orders',
    'labeller',
    'rater',
    'remembered',
    'rewards',
]
