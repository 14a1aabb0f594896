"""Records by split: no group in two of them, nothing lost without a count."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from perl.data import SPLITS, Comparison, Demonstration
from perl.data.splits import Groups

ROWS = st.lists(st.tuples(st.sampled_from(SPLITS), st.sampled_from('abcd')))


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
