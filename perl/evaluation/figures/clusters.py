"""Clusters: rows that are not independent, such as the turns of one dialog.

Several comparisons of one prompt, or several turns of one dialog, tend to be right or
wrong together. An interval that treats each row as a new observation is too narrow, so
every interval of an evaluation treats clusters as the observations.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from perl.data.records import Comparison, Rating

Clusters = Sequence[Hashable] | np.ndarray | None


def numbers(clusters: Clusters, n: int) -> np.ndarray:
    """Clusters as numbers 0, 1, … in the order of their first rows: int `[n]`.

    Args:
        clusters: `[n]` names of any kind; None if every row is its own cluster.
        n: number of rows.

    Raises:
        ValueError: there are not n names.
    """
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f'{len(clusters)} clusters for {n} rows')
    places: dict[Hashable, int] = {}
    names = clusters.tolist() if isinstance(clusters, np.ndarray) else clusters
    return np.array([places.setdefault(name, len(places)) for name in names], int)


def count(clusters: Clusters, n: int) -> int:
    """The number of clusters of n rows."""
    return len(np.unique(numbers(clusters, n)))


def of_records(records: Sequence[Comparison] | Sequence[Rating]) -> np.ndarray:
    """The cluster of each of n comparisons or ratings: int `[n]`.

    It is the record's `group` (a dialog, a post, a screen), or the prompt if the record
    has no group. A record with neither is its own cluster.
    """
    names = [
        ('group', record.group)
        if record.group
        else ('prompt', record.prompt)
        if record.prompt
        else ('row', row)
        for row, record in enumerate(records)
    ]
    return numbers(names, len(names))


def of_prompts(prompts: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """The cluster of each of n prompts: int `[n]`.

    Args:
        prompts: n prompts.
        groups: the group of each prompt that has one, see `Dataset.prompt_groups`. Any
            other prompt is its own cluster.
    """
    return numbers([groups.get(prompt, prompt) for prompt in prompts], len(prompts))
