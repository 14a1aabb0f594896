"""What a user's reader may return."""

import dataclasses

import numpy as np
import pytest

from perl.data import Comparison, Dataset, Demonstration, Rating
from perl.data.sets import returned
from perl.system.errors import UserError

PAIR = Comparison('p', ('a', 'b'), tags=(('topic', 'tea'),), group='g')
RATING = Rating('p', 'a', np.float32(0.5))


def of(**kinds):
    return Dataset('mine', **{kind: {'train': rows} for kind, rows in kinds.items()})


def test_what_is_right_passes_and_gets_all_splits():
    dataset = of(
        text=['t'],
        demonstrations=[Demonstration('p', 'a')],
        comparisons=[PAIR, Comparison('p', ['a', 'b'], margin=1, preference=0)],
        ratings=[RATING, Rating('p', 'a', 1)],
        prompts=['p'],
    )
    returned.check('m:f', dataset)
    assert dataset.comparisons == {**dataset.comparisons, 'val': [], 'test': []}


@pytest.mark.parametrize(
    'kind, row, says',
    [
        ('prompts', 3, 'is a int, not a str'),
        ('comparisons', ('p', 'a', 'b'), 'is a tuple, not a Comparison'),
        ('demonstrations', Demonstration('p', None), 'response that is a NoneType'),
        ('demonstrations', Demonstration(3, 'a'), 'response that is a int, not a str'),
        ('comparisons', Comparison('p', 'ab'), 'has one text as completions'),
        ('comparisons', Comparison('p', ('a', None)), 'that is a NoneType, not a str'),
        ('comparisons', dataclasses.replace(PAIR, group=3), 'group that is a int'),
        (
            'comparisons',
            dataclasses.replace(PAIR, tags={'a': 'b'}),
            'tags that are not',
        ),
        ('comparisons', dataclasses.replace(PAIR, tags=('a',)), 'not pairs of texts'),
        ('comparisons', dataclasses.replace(PAIR, tags=(('a', 1),)), 'not pairs of'),
        (
            'comparisons',
            dataclasses.replace(PAIR, margin='1'),
            'a margin that is a str',
        ),
        ('ratings', Rating('p', 'a', None), 'a label that is a NoneType, not a number'),
        ('ratings', Rating('p', 'a', [1]), 'a label that is a list, not a number'),
    ],
)
def test_a_record_of_other_types_is_named(kind, row, says):
    good = {'comparisons': PAIR, 'ratings': RATING}.get(kind)
    rows = [good, row] if good else [row]
    place = rf"m:f: {kind}\['train'\]\[{len(rows) - 1}\] "
    with pytest.raises(UserError, match=place + f'.*{says}'):
        returned.check('m:f', of(**{kind: rows}))


def test_a_split_that_there_is_not():
    with pytest.raises(
        UserError, match="m:f: text has the split 'valid'; there are tr"
    ):
        returned.check('m:f', Dataset('mine', text={'valid': ['t']}))
