import numpy as np
import pytest

from perl.data.records import Comparison, Rating
from perl.evaluation.figures import baselines
from perl.evaluation.figures.accuracy import auc, best_threshold

RNG = np.random.default_rng(0)


def by_word(n):
    """A rating is good exactly if its response says 'yes'; lengths tell nothing."""
    return [
        Rating('word ' * RNG.integers(1, 9), f'well {word} sir', float(word == 'yes'))
        for word in RNG.choice(['yes', 'nay'], n)
    ]


def by_length(n):
    """A rating is good exactly if its prompt is long."""
    sizes = RNG.choice([3, 4, 5, 20, 21, 22], n)
    return [Rating('word ' * size, 'same', float(size > 10)) for size in sizes]


def pairs_by_word(n):
    return [
        Comparison(f'prompt {i}', (f'well yes {x}', f'well nay {y}'))
        for i, (x, y) in enumerate(RNG.choice(['sir', 'man', 'sam'], (n, 2)))
    ]


def pairs_by_length(n):
    """The shorter one is better."""
    sizes = RNG.integers(2, 9, n)
    return [Comparison('prompt', ('so ' * k, 'so ' * (k + 3))) for k in sizes]


def splits(make):
    return {'train': make(60), 'val': make(30), 'test': make(40)}


def measured(records):
    return {name: x for name, (x, _) in baselines.metrics(records, 'test').items()}


def test_majority_is_the_base_rate():
    train = [Rating('', '', label) for label in (1.0, 0.0, 0.0, 0.2)]
    score, rule = baselines.majority(train)
    np.testing.assert_allclose(np.ravel(score(train[:2])), np.log(2 / 4))
    assert rule == 'always bad'
    assert np.isfinite(baselines.majority(train[:1])[0](train)).all()


@pytest.mark.parametrize(
    'make, winner, loser',
    [(by_word, 'bag_of_words', 'length'), (by_length, 'length', 'majority')],
)
def test_each_baseline_of_ratings_finds_what_it_can_see(make, winner, loser):
    ratings = splits(make)
    got = measured(ratings)
    assert list(got) == ['majority', 'length', 'bag_of_words']
    assert got['majority']['auc'] == got['majority']['balanced_accuracy'] == 0.5
    labels = np.array([rating.label for rating in ratings['test']])
    most = max(labels.mean(), 1 - labels.mean())
    assert got['majority']['accuracy'] in (pytest.approx(most), pytest.approx(1 - most))
    assert got[winner]['auc'] == got[winner]['balanced_accuracy'] == 1
    assert got[loser]['auc'] < 0.8
    assert {figures['n'] for figures in got.values()} == {40}


@pytest.mark.parametrize(
    'make, winner, loser',
    [(pairs_by_word, 'bag_of_words', 'length'), (pairs_by_length, 'length', 'chance')],
)
def test_each_baseline_of_comparisons_finds_what_it_can_see(make, winner, loser):
    got = measured(splits(make))
    assert list(got) == ['chance', 'length', 'bag_of_words']
    assert got['chance']['accuracy'] == 0.5 and 'ci95' not in got['chance']
    assert got[winner]['accuracy'] == 1
    assert got[loser]['accuracy'] < 0.8
    assert {figures['n'] for figures in got.values()} == {40}


def test_the_rule_of_length_is_told():
    assert baselines.length(pairs_by_length(9))[1] == 'the shorter response is better'
    longer = [Comparison('p', ('longer', 'short'))] * 9
    assert baselines.length(longer)[1] == 'the longer response is better'


def test_labelled_ties_and_rankings_are_compared_as_the_models_are():
    ranked = [Comparison('p', ('a' * 9, 'a' * 4, 'a'))] * 5
    tied = [Comparison('q', ('a', 'b'), preference=0.5)] * 3
    records = {'train': ranked, 'val': ranked, 'test': ranked + tied}
    got = measured(records)['length']
    assert (got['n'], got['pairs'], got['labelled_ties']) == (5, 15, 3)
    assert got['accuracy'] == 1
    _, scores = baselines.metrics(records, 'test')['length']
    assert [len(x) for x in scores] == [3] * 5 + [2] * 3


def test_intervals_are_of_clusters():
    test = [Comparison('one prompt', ('aa', 'a'))] * 50
    got = measured({'train': test, 'val': [], 'test': test})['length']
    assert got['clusters'] == 1 and got['ci95']['accuracy'][0] < 0.3


def test_the_threshold_is_chosen_on_the_validation_split():
    ratings = splits(by_length)
    score, _ = baselines.length(ratings['train'])
    labels = np.array([rating.label for rating in ratings['val']])
    want = best_threshold(np.ravel(score(ratings['val'])), labels)
    assert want != 0
    assert measured(ratings)['length']['threshold'] == want


def test_length_is_a_logistic_regression_on_log_characters():
    """Its score is linear in the logarithm of the lengths."""
    score, _ = baselines.length(by_length(40))
    sizes = np.array([1, 3, 7, 15])
    scores = np.ravel(score([Rating('x' * size, 'same', 0.0) for size in sizes]))
    np.testing.assert_allclose(np.diff(scores), scores[1] - scores[0])


def test_words_of_prompt_and_response_are_told_apart():
    def make(n):
        return [
            Rating(*(('a', 'b') if good else ('b', 'a')), float(good))
            for good in RNG.integers(0, 2, n)
        ]

    test = make(20)
    scores = np.ravel(baselines.bag_of_words(make(40), make(20))[0](test))
    assert auc(scores, np.array([rating.label for rating in test])) == 1


def test_only_the_tail_of_a_prompt_is_read(monkeypatch):
    monkeypatch.setattr(baselines, 'CHARACTERS', 5)
    score, _ = baselines.bag_of_words(by_word(40), by_word(20))
    one, other = (Rating(start + 'word ', 'yes', 1.0) for start in ('nay yes ', ''))
    assert score([one]) == score([other])


def test_the_strength_is_chosen_on_the_validation_split():
    """Validation labels turned round make the weakest fit the least bad."""
    train, val = by_word(40), by_word(20)
    turned = [Rating(x.prompt, x.response, 1 - x.label) for x in val]
    sure, unsure = (
        np.abs(baselines.bag_of_words(train, split)[0](val)).mean()
        for split in (val, turned)
    )
    assert sure > 5 * unsure


def test_of_many_records_some_are_read(monkeypatch):
    monkeypatch.setattr(baselines, 'MOST', 40)
    first = by_word(40)
    whole = [record for record in first for _ in (0, 1)]  # every second one is read
    test = by_word(9)
    one, other = (baselines.bag_of_words(x, [])[0](test) for x in (first, whole))
    np.testing.assert_allclose(one, other)


def test_what_cannot_be_fitted_is_left_out():
    same = [Rating('a', 'b', 1.0)] * 4
    assert list(measured({'train': same, 'val': same, 'test': same})) == ['majority']
    assert measured({'train': [], 'val': same, 'test': same}) == {}
    assert measured({'train': same, 'val': same, 'test': []}) == {}
    without_val = splits(by_word) | {'val': []}
    assert measured(without_val)['bag_of_words']['auc'] == 1
