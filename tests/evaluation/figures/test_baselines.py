import sys

import numpy as np
import pytest

from perl.data.records import Rating
from perl.evaluation.figures import baselines
from perl.evaluation.figures.accuracy import auc, best_threshold
from perl.system.errors import UserError

RNG = np.random.default_rng(0)


def by_word(n):
    """A rating is good exactly if its response says 'yes'; lengths tell nothing."""
    return [
        Rating('word ' * RNG.integers(1, 9), f'well {said} sir', float(said == 'yes'))
        for said in RNG.choice(['yes', 'nay'], n)
    ]


def by_length(n):
    """A rating is good exactly if its prompt is long."""
    sizes = RNG.choice([3, 4, 5, 20, 21, 22], n)
    return [Rating('word ' * size, 'same', float(size > 10)) for size in sizes]


def splits(make):
    return {'train': make(60), 'val': make(30), 'test': make(40)}


def test_majority_is_the_base_rate():
    train = [Rating('', '', label) for label in (1.0, 0.0, 0.0, 0.2)]
    scores = baselines.majority(train)(train[:2])
    np.testing.assert_allclose(scores, np.log(2 / 4))
    assert np.isfinite(baselines.majority(train[:1])(train)).all()


@pytest.mark.parametrize(
    'make, winner, loser',
    [(by_word, 'bag_of_words', 'length'), (by_length, 'length', 'majority')],
)
def test_each_baseline_finds_what_it_can_see(make, winner, loser):
    ratings = splits(make)
    got = baselines.rating_baselines(ratings)
    assert set(got) == {'majority', 'length', 'bag_of_words'}
    assert got['majority']['auc'] == got['majority']['balanced_accuracy'] == 0.5
    assert got[winner]['auc'] == got[winner]['balanced_accuracy'] == 1
    assert got[loser]['auc'] < 0.8
    assert {figures['n'] for figures in got.values()} == {40}


def test_the_threshold_is_chosen_on_the_validation_split():
    ratings = splits(by_length)
    score = baselines.length(ratings['train'])
    labels = np.array([rating.label for rating in ratings['val']])
    want = best_threshold(score(ratings['val']), labels)
    assert want != 0
    assert baselines.rating_baselines(ratings)['length']['threshold'] == want


def test_length_is_a_logistic_regression_on_log_characters():
    """Its score is linear in the logarithm of the lengths."""
    score = baselines.length(by_length(40))
    sizes = np.array([1, 3, 7, 15])
    scores = score([Rating('x' * size, 'same', 0.0) for size in sizes])
    np.testing.assert_allclose(np.diff(scores), scores[1] - scores[0])


def test_words_of_prompt_and_response_are_told_apart():
    def make(n):
        return [
            Rating(*(('a', 'b') if good else ('b', 'a')), float(good))
            for good in RNG.integers(0, 2, n)
        ]

    test = make(20)
    scores = baselines.bag_of_words(make(40), make(20))(test)
    assert auc(scores, np.array([rating.label for rating in test])) == 1


def test_only_the_tail_of_a_prompt_is_read():
    score = baselines.bag_of_words(by_word(40), by_word(20), tail=5)
    one, other = (Rating(start + 'word ', 'yes', 1.0) for start in ('nay yes ', ''))
    assert score([one]) == score([other])


def test_the_strength_is_chosen_on_the_validation_split():
    """Validation labels turned round make the weakest fit the least bad."""
    train, val = by_word(40), by_word(20)
    turned = [Rating(x.prompt, x.response, 1 - x.label) for x in val]
    sure, unsure = (
        np.abs(baselines.bag_of_words(train, split)(val)).mean()
        for split in (val, turned)
    )
    assert sure > 5 * unsure


@pytest.mark.parametrize('name', ['length', 'bag_of_words'])
def test_one_class_is_an_error(name):
    same = [Rating('a', 'b', 1.0)] * 4
    with pytest.raises(UserError, match='two classes'):
        baselines.BASELINES[name](same, same)


def test_an_empty_split_is_an_error():
    with pytest.raises(UserError, match="'val'"):
        baselines.rating_baselines(splits(by_word) | {'val': []})


def test_a_missing_scikit_learn_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.linear_model', None)
    with pytest.raises(UserError, match='pip install scikit-learn'):
        baselines.length(by_length(10))
