import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
from scipy.special import expit

from perl.evaluation.figures import ece
from perl.evaluation.figures.intervals import wilson

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.3, 1.5, 400)
OUTCOMES = (RNG.random(400) < expit(LOGITS)).astype(float)
EDGES = ece.equal_width(10)


def test_ece_and_largest_gap_by_hand():
    p = np.array([0.1, 0.2, 0.7, 0.9])
    y = np.array([0.0, 1.0, 1.0, 1.0])
    edges = np.array([0, 0.5, 1])
    # bins: said 0.15, found 0.5 (gap 0.35); said 0.8, found 1 (gap 0.2)
    assert ece.ece(p, y, edges) == pytest.approx(0.275)
    assert ece.largest_gap(p, y, edges) == pytest.approx(0.35)
    rows = ece.reliability(p, y, edges)
    assert [row['n'] for row in rows] == [2, 2]
    assert [row['said'] for row in rows] == pytest.approx([0.15, 0.8])
    assert [row['found'] for row in rows] == [0.5, 1.0]


@pytest.mark.parametrize('strategy', ['uniform', 'quantile'])
def test_the_curve_is_scikit_learns(strategy):
    p = expit(LOGITS)
    found, said = sklearn.calibration.calibration_curve(
        OUTCOMES, p, n_bins=10, strategy=strategy
    )
    edges = EDGES if strategy == 'uniform' else ece.equal_mass(p, 10)
    rows = ece.reliability(p, OUTCOMES, edges)
    np.testing.assert_allclose([row['found'] for row in rows], found)
    np.testing.assert_allclose([row['said'] for row in rows], said)
    gaps = np.abs(found - said)
    counts = np.array([row['n'] for row in rows])
    want = np.sum(counts * gaps) / 400
    assert ece.ece(p, OUTCOMES, edges) == pytest.approx(want)
    assert ece.largest_gap(p, OUTCOMES, edges) == pytest.approx(gaps.max())


def test_an_edge_belongs_to_the_bin_below():
    rows = ece.reliability(np.array([0.5]), np.array([1.0]), EDGES)
    assert (rows[0]['low'], rows[0]['high']) == (pytest.approx(0.4), 0.5)


def test_equal_mass():
    edges = ece.equal_mass(LOGITS, 8)
    counts, _ = np.histogram(LOGITS, edges)
    assert (counts == 50).all()
    assert ece.ece(np.ones(4), np.ones(4), ece.equal_mass(np.ones(4))) == 0


def test_weights_are_copies_of_rows():
    p, times = expit(LOGITS), RNG.integers(0, 4, (3, 400))
    want = [ece.ece(np.repeat(p, w), np.repeat(OUTCOMES, w), EDGES) for w in times]
    np.testing.assert_allclose(ece.ece(p, OUTCOMES, EDGES, times), want)


def test_the_error_that_chance_makes():
    """Of a calibrated model it is that of outcomes drawn from its probabilities."""
    p = expit(LOGITS)
    mean, high = ece.ece_by_chance(p, OUTCOMES, EDGES)
    drawn = [
        ece.ece(p, np.random.default_rng(i).random(400) < p, EDGES)
        for i in range(1, 200)
    ]
    assert mean == pytest.approx(np.mean(drawn), rel=0.1)
    assert np.mean(np.array(drawn) < high) == pytest.approx(0.95, abs=0.05)
    assert ece.ece_by_chance(p, p, EDGES) == (0, 0)


def model(rng, prompts, rows, sure):
    """Confidences, and outcomes of which those of a prompt go together; where `sure`
    is 1 the model is calibrated, above 1 it is too sure. And the prompts."""
    of_prompt = np.repeat(np.arange(prompts), rows)
    logits = np.abs(rng.normal(0, 1.5, prompts * rows))
    alike = rng.normal(size=prompts)[of_prompt] + rng.normal(size=prompts * rows)
    outcomes = scipy.stats.norm.cdf(alike / np.sqrt(2)) < expit(logits / sure)
    return expit(logits), outcomes.astype(float), of_prompt


def test_chance_makes_more_error_where_rows_go_together():
    alarms = {True: 0, False: 0}
    for seed in range(200):
        p, y, of_prompt = model(np.random.default_rng(seed), 30, 10, 1)
        for clusters in alarms:
            _, high = ece.ece_by_chance(
                p, y, EDGES, of_prompt if clusters else None, draws=200
            )
            alarms[clusters] += ece.ece(p, y, EDGES) > high
    assert alarms[True] / 200 <= 0.08 < 0.15 < alarms[False] / 200


@pytest.mark.parametrize('sure', [1, 3])
def test_the_interval_covers_the_error_of_many(sure):
    """A bootstrap alone never covers the 0 of a calibrated model."""
    logits = np.abs(np.random.default_rng(2).normal(0, 1.5, 400_000))
    truth = float(ece.ece(expit(logits), expit(logits / sure), EDGES))
    hits = []
    for seed in range(60):
        p, y, of_prompt = model(np.random.default_rng(seed), 40, 10, sure)
        low, high = ece.ece_interval(p, y, EDGES, of_prompt, seed)
        assert low <= ece.ece(p, y, EDGES) <= high
        hits.append(low <= truth <= high)
    assert np.mean(hits) >= 0.9


def test_one_cluster_has_no_interval():
    p = expit(LOGITS)
    assert np.isnan(ece.ece_interval(p, OUTCOMES, EDGES, ['prompt'] * 400)).all()
    rows = ece.reliability(p, OUTCOMES, EDGES, ['prompt'] * 400)
    assert rows[0]['found_ci95'] == list(wilson(rows[0]['found'], 1))
