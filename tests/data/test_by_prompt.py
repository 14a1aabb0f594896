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
