"""Responses to equal prompts, joined so that a prompt is encoded once."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from perl.data.examples import Examples
from perl.models.shared_rows import together


def by_prompt(data: Examples, width: int) -> Iterator[tuple[Examples, np.ndarray]]:
    """Examples of one completion each as examples of several, where that is less work.

    Prompts with equally many completions are treated alike, by their mean lengths, so
    that K seldom changes with the completions.

    Args:
        data: n examples of one completion each; the order is free.
        width: of the decoder that will read them.

    Yields:
        For each K that occurs: m examples with K completions, and the indices `[m, K]`
        of these completions in `data`.
    """
    groups, rows = collections.defaultdict(list), collections.defaultdict(list)
    for i, prompt in enumerate(data.prompts):
        groups[prompt.tobytes()].append(i)
    by_size = collections.defaultdict(list)
    for group in groups.values():
        by_size[len(group)].append(group)
    for size, alike in by_size.items():
        count = together(width, size, *_lengths(data, alike))
        rows[count] += [
            group[i : i + count] for group in alike for i in range(0, size, count)
        ]
    for joined in rows.values():
        firsts = [row[0] for row in joined]
        examples = dataclasses.replace(
            data,
            prompts=[data.prompts[i] for i in firsts],
            completions=[tuple(data.completions[i][0] for i in row) for row in joined],
            labels=data.labels[firsts],
            masks=None,
        )
        yield examples, np.array(joined)


def _lengths(data, groups):
    """Tokens of a prompt, and of the longest completion of a group, in the mean."""
    prompts = [len(data.prompts[group[0]]) for group in groups]
    longest = [max(len(data.completions[i][0]) for i in group) for group in groups]
    return round(np.mean(prompts)), round(np.mean(longest))
