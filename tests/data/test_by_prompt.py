"""Responses to equal prompts, joined and found again."""

import numpy as np

from perl.data import examples
from perl.data.by_prompt import by_prompt
from perl.data.tokenizers.vocabularies import Bytes

LONG = 'a prompt that is long beside what is said to it'
ASKED = [LONG, 'b', LONG, 'c', LONG, LONG, 'b']
SAID = ['1', 'x' * 60, '222', 'y', '33', '4', 'z' * 60]


def test_completions_are_joined_where_that_is_less_work():
    """Four behind a long prompt; not two that are much longer than their prompt."""
    data = examples.encode_responses(ASKED, SAID, Bytes(), 64, 64)
    found = {len(x.completions[0]): (x, places) for x, places in by_prompt(data, 16)}
    assert sorted(found) == [1, 4]
    np.testing.assert_array_equal(found[4][1], [[0, 2, 4, 5]])
    assert sorted(found[1][1].ravel()) == [1, 3, 6]
    for joined, places in found.values():
        assert len(joined) == len(places) == len(joined.labels)
        for prompt, completions, row in zip(
            joined.prompts, joined.completions, places, strict=True
        ):
            for completion, place in zip(completions, row, strict=True):
                np.testing.assert_array_equal(prompt, data.prompts[place])
                np.testing.assert_array_equal(completion, data.completions[place][0])


def test_prompts_with_equally_many_completions_are_treated_alike():
    """Their number and that of the rows then stay from batch to batch."""
    asked = [x for x in (LONG, 'b', f'{LONG}!', 'c') for _ in range(4)]
    counts = set()
    for longest in range(8, 60, 4):
        said = ['y' * (longest if i % 3 else 60 - longest) for i in range(16)]
        data = examples.encode_responses(asked, said, Bytes(), 64, 64)
        joined = [len(x.completions[0]) for x, _ in by_prompt(data, 256)]
        assert len(joined) == 1
        counts |= set(joined)
    assert len(counts) <= 2
