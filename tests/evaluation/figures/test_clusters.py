import numpy as np
import pytest

from perl.data.records import Comparison, Rating
from perl.evaluation.figures import clusters


def test_numbers_follow_the_first_rows():
    assert clusters.numbers(['b', 'a', 'b', 3], 4).tolist() == [0, 1, 0, 2]
    assert clusters.numbers(np.array([7, 7, 1]), 3).tolist() == [0, 0, 1]
    assert clusters.numbers(None, 3).tolist() == [0, 1, 2]
    assert clusters.count(['a', 'a', 'b'], 3) == 2
    with pytest.raises(ValueError, match='2 clusters for 3 rows'):
        clusters.numbers(['a', 'b'], 3)


def test_records_belong_to_their_group_or_else_to_their_prompt():
    pairs = [
        Comparison('p', ('a', 'b'), group='dialog 1'),
        Comparison('q', ('a', 'b'), group='dialog 1'),
        Comparison('p', ('a', 'b')),
        Comparison('p', ('c', 'd')),
        Comparison('dialog 1', ('c', 'd')),
    ]
    assert clusters.of_records(pairs).tolist() == [0, 0, 1, 1, 2]


def test_records_without_a_prompt_are_independent():
    assert clusters.of_records([Rating('', 'a', 1.0)] * 3).tolist() == [0, 1, 2]


def test_prompts_belong_to_their_group():
    groups = {'p': 'dialog', 'q': 'dialog'}
    assert clusters.of_prompts(['p', 'r', 'q'], groups).tolist() == [0, 1, 0]
