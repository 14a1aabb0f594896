"""Batches by example: when completions share a prompt."""

import pytest

from perl.data import by_example
from perl.data.examples import encode
from perl.data.records import Comparison, Rating
from perl.data.tokenizers import Bytes


@pytest.mark.parametrize(
    ('prompt', 'completion', 'rows'), [('p' * 6, 'c', 1), ('p', 'c' * 6, 2)]
)
@pytest.mark.parametrize('share', by_example.SHARE_PROMPTS)
def test_auto_shares_prompts_that_are_long(prompt, completion, rows, share):
    data = encode(
        [Comparison(prompt, (completion, 'd' + completion[1:]))] * 3, Bytes(), 9, 9
    )[0]
    tokens = by_example.collate(share, data, [0, 2], 4)['tokens']
    want = {'auto': rows, 'always': 1, 'never': 2}[share]
    assert tokens.shape[:2] == (2, want)


def test_the_means_of_all_examples_decide():
    """So that every batch of them has the same layout."""
    records = [Comparison('p', ('c' * 5, 'd' * 5)), Comparison('p' * 8, ('c', 'd'))]
    data = encode(records, Bytes(), 9, 9)[0]
    assert data.mean_lengths == (
        5.5,
        4,
    )  # with one token at the start and one at the end
    for row in (0, 1):
        assert by_example.collate('auto', data, [row], 4)['tokens'].shape[1] == 1


def test_one_completion_has_no_prompt_to_share():
    data = encode([Rating('pppp', 'c', 1.0)] * 2, Bytes(), 9, 9)[0]
    assert by_example.collate('always', data, [0, 1], 4)['tokens'].shape[:2] == (2, 1)
