"""Splits cannot leak and rankings become pairs."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl import data
from perl.data import Comparison, split_of


@given(st.text())
def test_a_key_has_one_split(key):
    assert split_of(key) == split_of(key)
    assert split_of(key, (1, 0, 0)) == 'train'
    assert split_of(key, (0, 0, 1)) == 'test'


@pytest.mark.parametrize(
    ('key', 'sha1', 'split'),
    [
        ('', 'da39a3ee5e6b4b0d3255bfef95601890afd80709', 'train'),
        ('d', '3c363836cf4e16666669a25da280a1865c2d2874', 'val'),
        ('f', '4a0a19218e082a343a1b17e5333409af9d98f0f5', 'test'),
    ],
)
def test_split_is_sha1_mod_ten(key, sha1, split):
    place = int(sha1, 16) % 10
    assert split == ('train' if place < 8 else ('val', 'test')[place - 8])
    assert split_of(key) == split


def test_shares_are_kept():
    counts = collections.Counter(split_of(str(i)) for i in range(5000))
    assert abs(counts['train'] / 5000 - 0.8) < 0.03
    assert abs(counts['val'] - counts['test']) < 100


def test_pairs_of_a_ranking():
    ranking = Comparison('p', ('a', 'b', 'c'))
    assert [pair.completions for pair in data.pairs(ranking)] == [
        ('a', 'b'),
        ('a', 'c'),
        ('b', 'c'),
    ]
