"""Responses to equal prompts, joined so that a prompt is encoded once."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from perl.data.examples import Examples
from perl.models.shared_rows import together


def by_prompt(data: Examples, width: int) -> Iterator[tuple[Examples, np.ndarray]]:
    """Examples of one completion each as examples of several, where that is less work.

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
    for group in groups.values():
        prompt = len(data.prompts[group[0]])
        longest = max(len(data.completions[i][0]) for i in group)
        count = together(width, len(group), prompt, longest)
        rows[count] += [group[i : i + count] for i in range(0, len(group), count)]
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
