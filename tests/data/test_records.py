"""Rankings become pairs."""

from perl import data
from perl.data import Comparison


def test_pairs_of_a_ranking():
    ranking = Comparison('p', ('a', 'b', 'c'))
    assert [pair.completions for pair in data.pairs(ranking)] == [
        ('a', 'b'),
        ('a', 'c'),
        ('b', 'c'),
    ]
