import numpy as np
import pytest

from perl.data.records import Comparison, Rating
from perl.evaluation.figures import agreement, pairs
from perl.evaluation.figures.against_baselines import against_baselines, sentence

RNG = np.random.default_rng(0)


def longer_wins(n, share=0.8):
    """The longer completion wins in this share of the comparisons."""
    return [
        Comparison(f'prompt {i}', ('aa', 'a') if i < share * n else ('a', 'aa'))
        for i in range(n)
    ]


def model_of(records, right):
    """The scores of a model that is right in this share of the comparisons, and its
    figures."""
    n = len(records)
    scores = [
        np.array([1.0, 0] if i >= (1 - right) * n else [0, 1.0]) for i in range(n)
    ]
    metrics = agreement.comparison_metrics(pairs.of_scores(scores))
    return scores, {'reward_kind': 'pairwise', **metrics}


@pytest.mark.parametrize(
    'right, verdict',
    [
        (0.4, ' worse than the best'),
        (1.0, ' better than the best'),
        (0.78, ' lower but not clearly worse than the best'),
        (0.81, ' not clearly better than the best'),
    ],
)
def test_comparisons(right, verdict):
    records = {'train': longer_wins(50), 'val': [], 'test': longer_wins(100)}
    scores, figures = model_of(records['test'], right)
    figures |= against_baselines(records, 'test', scores, figures)
    assert set(figures['baselines']) == {'chance', 'length', 'bag_of_words'}
    best = figures['best_baseline']
    assert (best['name'], best['figure']) == ('length', 'accuracy')
    assert (best['model'], best['baseline']) == (pytest.approx(right), 0.8)
    assert best['difference'] == pytest.approx(right - 0.8)
    low, high = best['difference_ci95']
    assert -1 <= low < best['difference'] < high <= 1
    line = sentence(figures)
    assert (
        f'comparisons,{verdict}' in line
        and f'{100 * right:.1f} %' in line
        and '80.0 %' in line
    )
    assert 'length (the longer response is better)' in line and '\n' not in line


def test_the_difference_is_of_the_same_records():
    """A model that agrees with the baseline but for a few records differs for sure,
    however wide the intervals of both are."""
    records = {'train': longer_wins(50), 'val': [], 'test': longer_wins(60)}
    scores, _ = model_of(records['test'], 0.0)
    length = [np.array(list(map(len, x.completions)), float) for x in records['test']]
    scores = length[:48] + [-x for x in length[48:]]
    metrics = agreement.comparison_metrics(pairs.of_scores(scores))
    figures = {'reward_kind': 'pairwise', **metrics}
    best = against_baselines(records, 'test', scores, figures)['best_baseline']
    assert best['difference'] == pytest.approx(0.2) and best['difference_ci95'][0] > 0.1


def test_ratings_are_compared_by_auc():
    def ratings(n):
        labels = RNG.random(n) < 0.9
        return [
            Rating(f'prompt {i}', 'x' * RNG.integers(1, 9), float(label))
            for i, label in enumerate(labels)
        ]

    records = {'train': ratings(60), 'val': ratings(30), 'test': ratings(80)}
    labels = np.array([rating.label for rating in records['test']])
    logits = labels + RNG.normal(0, 0.1, 80)
    metrics = agreement.rating_metrics(logits, labels)
    figures = {'reward_kind': 'pointwise', **metrics}
    scores = list(logits[:, None])
    got = against_baselines(records, 'test', scores, figures)
    best = got['best_baseline']
    assert best['figure'] == 'auc' and best['model'] == 1.0
    assert got['baselines']['majority']['accuracy'] == labels.mean()
    low, high = best['difference_ci95']
    assert 0 < low < best['difference'] <= high
    line = sentence({**figures, **got})
    assert line.startswith('AUC 1.000 of 80 held-out ratings, better than')


def test_without_a_baseline_nothing_is_said():
    same = [Rating('a', 'b', 1.0)] * 4
    records = {'train': same, 'val': same, 'test': same}
    metrics = agreement.rating_metrics(np.ones(4), np.ones(4))
    figures = {'reward_kind': 'pointwise', **metrics}
    got = against_baselines(records, 'test', [np.ones(1)] * 4, figures)
    assert list(got) == ['baselines'] and sentence(got) == ''
