"""Overlap with reference texts (ROUGE) and lengths of responses.

ROUGE-N and ROUGE-L of Lin 2004 as F1, with the words of Google's `rouge_score` 0.1.2
without stemming: lower case, [a-z0-9]+. Text in other scripts has no such words and
scores 0.
"""

import collections
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import share

NAMES = ('rouge1', 'rouge2', 'rougeL')
_WORD = re.compile('[a-z0-9]+')


def words(text: str) -> list[str]:
    """The words that ROUGE compares."""
    return _WORD.findall(text.lower())


def rouge(reference: str, response: str) -> dict[str, float]:
    """ROUGE-1, -2 and -L of a response, each an F1 in [0, 1]."""
    expected, actual = words(reference), words(response)
    return {
        'rouge1': _overlap(expected, actual, 1),
        'rouge2': _overlap(expected, actual, 2),
        'rougeL': _f1(_common(expected, actual), len(expected), len(actual)),
    }


def best_rouge(references: Sequence[str], response: str) -> dict[str, float]:
    """The highest score over several references, separately for each figure."""
    scores = [rouge(reference, response) for reference in references]
    return {name: max(one[name] for one in scores) for name in NAMES}


def rouge_metrics(
    references: Sequence[Sequence[str]],
    responses: Sequence[str],
    clusters: Clusters = None,
) -> dict[str, Any]:
    """Mean ROUGE of n responses.

    Args:
        references: one or more references for each response.
        responses: n responses.
        clusters: `[n]`, the cluster of each prompt; by default every row is its own.

    Returns:
        n, rouge1, rouge2, rougeL and ci95: the interval (`intervals.share`) by name.
    """
    rows = [best_rouge(*pair) for pair in zip(references, responses, strict=True)]
    columns = {name: np.array([row[name] for row in rows]) for name in NAMES}
    return {
        'n': len(rows),
        **{name: float(values.mean()) for name, values in columns.items()},
        'ci95': {name: list(share(x, clusters)) for name, x in columns.items()},
    }


def length_metrics(responses: Sequence[str]) -> dict[str, float]:
    """Mean and median length of responses: words (between spaces) and characters."""
    sizes = np.array([(len(text.split()), len(text)) for text in responses], float)
    return {
        'words': float(sizes[:, 0].mean()),
        'words_median': float(np.median(sizes[:, 0])),
        'characters': float(sizes[:, 1].mean()),
        'characters_median': float(np.median(sizes[:, 1])),
    }


def _overlap(wanted, response, n):
    counted = [
        collections.Counter(zip(*(text[i:] for i in range(n)), strict=False))
        for text in (wanted, response)
    ]
    shared = (counted[0] & counted[1]).total()
    return _f1(shared, *(grams.total() for grams in counted))


def _common(a, b):
    """The length of the longest common subsequence."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for place, y in enumerate(b):
            row.append(
                above[place] + 1 if x == y else max(row[place], above[place + 1])
            )
        above = row
    return above[-1]


def _f1(shared, wanted, response):
    # 2PR / (P + R) with P = shared / response and R = shared / wanted
    return 2 * shared / (wanted + response) if shared else 0.0
