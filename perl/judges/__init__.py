"""Judges of responses: rewards of single responses, preferences between two.

`perl.runs.judging.open_judge` opens any judge by its name.
"""

from perl.judges.labels import Labels, both_orders
from perl.judges.reward import Judge, Preference, Reward, each, preference, scores

__all__ = [
    'Judge',
    'Labels',
    'Preference',
    'Reward',
    'both_orders',
    'each',
    'preference',
    'scores',
]
