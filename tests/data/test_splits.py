"""Records by split: no group in two of them, nothing lost without a count."""

import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.data import SPLITS, Comparison, Demonstration, Rating
from perl.data.splits import Groups, split_of
from perl.system.errors import UserError

ROWS = st.lists(st.tuples(st.sampled_from(SPLITS), st.sampled_from('abcd')))


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


@given(ROWS)
def test_no_group_is_in_two_splits_and_the_most_held_out_one_wins(rows):
    found = Groups()
    for split, group in rows:
        found.add('comparisons', split, group, Comparison(group, ('x', 'y')))
    data = found.dataset('made up')
    where = {
        split: {record.prompt for record in records}
        for split, records in data.comparisons.items()
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not where[one] & where[other]
    for split, group in rows:
        assert any(group in where[x] for x in SPLITS[SPLITS.index(split) :])
    kept = sum(map(len, data.comparisons.values()))
    assert kept + data.counts['leaks_dropped'] == len(rows)


def test_a_group_leaks_across_kinds():
    found = Groups()
    found.add('text', 'train', 'a', 'seen')
    found.add('prompts', 'test', 'a', 'asked')
    data = found.dataset('made up')
    assert data.text['train'] == [] and data.prompts['test'] == ['asked']
    assert data.counts == {'leaks_dropped': 1}


def test_a_group_leaks_whatever_its_white_space():
    found = Groups()
    found.add('ratings', 'train', 'what is on ?', Rating('p', 'x', 1.0))
    found.add('ratings', 'train', '', Rating('q', 'x', 1.0))
    found.add('prompts', 'val', ' what is on?', 'asked')
    data = found.dataset('made up')
    assert [x.prompt for x in data.ratings['train']] == ['q']
    assert data.counts == {'leaks_dropped': 1}


def test_votes_are_kept_and_repetitions_are_not():
    found = Groups()
    for _ in range(2):
        found.add('comparisons', 'train', 'a', Comparison('p', ('x', 'y')))
        found.add('demonstrations', 'train', 'a', Demonstration('p', 'x'))
        found.add('prompts', 'train', 'a', 'p')
        found.add('text', 'train', 'a', 'px')
    data = found.dataset('made up')
    sizes = [
        len(x['train'])
        for x in (data.comparisons, data.demonstrations, data.prompts, data.text)
    ]
    assert sizes == [2, 1, 1, 1]


PROMPTS = st.sampled_from(['why', ' why\n', 'w hy', 'how', ''])


@given(st.lists(st.tuples(st.sampled_from(SPLITS), PROMPTS, st.sampled_from('xy'))))
def test_no_prompt_is_in_two_splits_whatever_its_white_space(rows):
    groups = Groups(distinct=False)
    for split, prompt, response in rows:
        groups.add('demonstrations', split, '', Demonstration(prompt, response))
    data = groups.dataset('made up')
    where = {
        split: {''.join(x.prompt.split()) or x.response for x in records}
        for split, records in data.demonstrations.items()
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not where[one] & where[other]
    kept = sum(map(len, data.demonstrations.values()))
    assert kept + data.counts['leaks_dropped'] == len(rows)


def test_a_leak_into_validation_drops_nothing_else():
    """What is dropped from 'val' does not drop anything from 'train'."""
    groups = Groups()
    groups.add('prompts', 'train', 'a', 'in train')
    groups.add('prompts', 'val', 'b', 'in train', texts=['in train', 'in test'])
    groups.add('prompts', 'test', 'c', 'in test')
    data = groups.dataset('made up')
    assert data.prompts == {'train': ['in train'], 'val': [], 'test': ['in test']}
    assert data.counts == {'leaks_dropped': 1}


def test_official_splits_keep_their_sizes():
    """A prompt of two posts is counted; a post of two splits is not kept."""
    groups = Groups(official=True)
    groups.add('prompts', 'train', 'a', 'asked')
    groups.add('prompts', 'test', 'b', ' asked')
    groups.add('text', 'train', 'b', 'seen')
    data = groups.dataset('made up')
    assert data.prompts == {'train': ['asked'], 'val': [], 'test': [' asked']}
    assert data.text['train'] == []
    assert data.counts == {'leaks_kept': 1, 'leaks_dropped': 1}


def test_records_and_prompts_know_their_group():
    found = Groups()
    found.add('comparisons', 'test', 'post 1', Comparison('p', ('x', 'y')))
    found.add('ratings', 'test', 'post 2', Rating('p', 'x', 1.0))
    found.add('prompts', 'test', 'post 1', 'p')
    data = found.dataset('made up')
    assert data.comparisons['test'][0].group == 'post 1'
    assert data.ratings['test'][0].group == 'post 2'
    assert data.prompt_groups == {'p': 'post 1'}


@pytest.mark.parametrize(
    ('row', 'error'),
    [
        (
            ('comparison', 'train', '', 'x'),
            "kind: 'comparison' is not one of .*'compar",
        ),
        (('text', 'valid', '', 'x'), "split: 'valid' is not one of train, val, test"),
        (
            ('comparisons', 'val', '', ('p', 'a', 'b')),
            r"\('p', 'a', 'b'\) is a tuple; give a Comparison",
        ),
        (('ratings', 'val', '', 'x'), "'x' is a str; give a Rating"),
    ],
)
def test_a_mistake_of_a_reader_is_one_line(row, error):
    with pytest.raises(UserError, match=error):
        Groups().add(*row)
