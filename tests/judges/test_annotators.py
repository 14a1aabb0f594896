"""The simulated annotators as a judge of the booking desk's texts."""

import numpy as np
import pytest

from perl import data
from perl.data.sets.desk import annotators, quality
from perl.judges import annotators as judge
from perl.system.errors import UserError

WEIGHTS = tuple(quality.WEIGHTS.values())


@pytest.fixture(scope='module')
def rows():
    """Prompts and two answers of different gold, the better one first."""
    made = data.load('reservations', text=0, demonstrations=0, comparisons=600,
                     prompts=0, held_out=0)  # fmt: skip
    found = []
    for row in made.comparisons['train']:
        gold = lambda text, row=row: -quality.gold(row.prompt, text)  # noqa: E731
        found.append((row.prompt, *sorted(row.completions, key=gold)))
    return list(map(list, zip(*found, strict=True)))


def preference(**options):
    return judge.preference(annotators.pool(WEIGHTS, **options))


def test_labels_are_of_the_texts_alone(rows):
    label = preference(seed=3)
    said = label(*rows)
    assert set(said) == {0.0, 1.0}
    np.testing.assert_array_equal(said, preference(seed=3)(*rows))
    backwards = [column[::-1] for column in rows]
    np.testing.assert_array_equal(said[::-1], label(*backwards))
    assert (said != preference(seed=4)(*rows)).mean() > 0.1


def test_exchanging_the_two_exchanges_the_label(rows):
    prompts, better, worse = rows
    label = preference()
    np.testing.assert_array_equal(
        label(prompts, better, worse), 1 - label(prompts, worse, better)
    )
    assert (label(prompts, better, better) == 0.5).all()


def test_a_quarter_is_flipped(rows):
    sure = preference(flip=0.0, agreement=1e6)(*rows)
    assert sure.mean() > 0.99, 'annotators who are all alike agree with gold'
    flipped = preference(flip=0.25, agreement=1e6)(*rows)
    assert abs((sure != flipped).mean() - 0.25) < 0.06


def test_annotators_differ(rows):
    assert 0.7 < preference(flip=0.0, agreement=2.0)(*rows).mean() < 0.99


def test_other_texts():
    with pytest.raises(
        UserError, match=r'is not a request to the booking desk, .*drop'
    ):
        preference()(['What is the capital of France?'], ['Paris'], ['Lyon'])
