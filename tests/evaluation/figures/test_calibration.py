import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from scipy.special import expit

from perl.evaluation.figures import calibration, temperature
from perl.system.errors import UserError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.3, 1.5, 400)
OUTCOMES = (RNG.random(400) < expit(LOGITS)).astype(float)
EDGES = calibration.equal_width(10)


def test_ece_and_largest_gap_by_hand():
    p = np.array([0.1, 0.2, 0.7, 0.9])
    y = np.array([0.0, 1.0, 1.0, 1.0])
    edges = np.array([0, 0.5, 1])
    # bins: said 0.15, found 0.5 (gap 0.35); said 0.8, found 1 (gap 0.2)
    assert calibration.ece(p, y, edges) == pytest.approx(0.275)
    assert calibration.largest_gap(p, y, edges) == pytest.approx(0.35)
    rows = calibration.reliability(p, y, edges)
    assert [row['n'] for row in rows] == [2, 2]
    assert [row['said'] for row in rows] == pytest.approx([0.15, 0.8])
    assert [row['found'] for row in rows] == [0.5, 1.0]


@pytest.mark.parametrize('strategy', ['uniform', 'quantile'])
def test_the_curve_is_scikit_learns(strategy):
    p = expit(LOGITS)
    found, said = sklearn.calibration.calibration_curve(
        OUTCOMES, p, n_bins=10, strategy=strategy
    )
    edges = EDGES if strategy == 'uniform' else calibration.equal_mass(p, 10)
    rows = calibration.reliability(p, OUTCOMES, edges)
    np.testing.assert_allclose([row['found'] for row in rows], found)
    np.testing.assert_allclose([row['said'] for row in rows], said)
    gaps = np.abs(found - said)
    counts = np.array([row['n'] for row in rows])
    want = np.sum(counts * gaps) / 400
    assert calibration.ece(p, OUTCOMES, edges) == pytest.approx(want)
    assert calibration.largest_gap(p, OUTCOMES, edges) == pytest.approx(gaps.max())


def test_brier_and_log_loss_are_scikit_learns():
    p = expit(LOGITS)
    want = sklearn.metrics.brier_score_loss(OUTCOMES, p)
    assert calibration.brier(p, OUTCOMES) == pytest.approx(want)
    want = sklearn.metrics.log_loss(OUTCOMES, p)
    assert temperature.log_loss(LOGITS, OUTCOMES) == pytest.approx(want)


def test_a_calibrated_model():
    """With its own probabilities as outcomes nothing is left to mend."""
    p = expit(LOGITS)
    assert calibration.ece(p, p, EDGES) == pytest.approx(0, abs=1e-15)
    assert temperature.fit(LOGITS, p) == pytest.approx(1, abs=1e-9)
    logits = RNG.normal(0, 2, 100_000)
    outcomes = RNG.random(100_000) < expit(logits)
    assert calibration.ece(expit(logits), outcomes, EDGES) < 0.005
    assert temperature.fit(logits, outcomes) == pytest.approx(1, abs=0.02)


def test_margins_of_a_ranking():
    got = calibration.margins(np.array([[3.0, 1.0, 2.0]]))
    np.testing.assert_array_equal(got, [[2, 1, -1]])


def test_an_edge_belongs_to_the_bin_below():
    rows = calibration.reliability(np.array([0.5]), np.array([1.0]), EDGES)
    assert (rows[0]['low'], rows[0]['high']) == (pytest.approx(0.4), 0.5)


def test_equal_mass():
    edges = calibration.equal_mass(LOGITS, 8)
    counts, _ = np.histogram(LOGITS, edges)
    assert (counts == 50).all()
    assert (
        calibration.ece(np.ones(4), np.ones(4), calibration.equal_mass(np.ones(4))) == 0
    )


def test_the_error_that_chance_makes():
    p = expit(LOGITS)
    mean, high = calibration.ece_by_chance(p, EDGES)
    drawn = [
        calibration.ece(p, np.random.default_rng(i).random(400) < p, EDGES)
        for i in range(1, 200)
    ]
    assert mean == pytest.approx(np.mean(drawn), rel=0.1)
    assert np.mean(np.array(drawn) < high) == pytest.approx(0.95, abs=0.05)


def test_pairs_are_judged_as_in_both_orders():
    """Folding a pair into the preferred order keeps loss, score and error."""
    margins = RNG.normal(0.5, 1, (60, 1))
    ones = np.ones((60, 1))
    got = calibration.calibration_metrics(margins, ones, (margins, ones), pairs=True)
    both = np.concatenate([margins, -margins]).ravel()
    said = np.repeat([1.0, 0.0], 60)
    want = calibration.calibration_metrics(
        both[:, None], said[:, None], (margins, ones), pairs=False, bins=20
    )
    for name in ('brier', 'log_loss', 'ece'):
        assert got['before'][name] == pytest.approx(want['before'][name])
    assert got['before']['found'] == pytest.approx(np.mean(margins > 0))


def test_figures_of_an_overconfident_model():
    p = expit(LOGITS)[:, None]
    shape = LOGITS[:, None]
    got = calibration.calibration_metrics(4 * shape, p, (4 * shape, p), pairs=False)
    assert got['temperature'] == pytest.approx(4)
    before, after = got['before'], got['after']
    assert before['ece'] > before['ece_by_chance'][1]
    assert after['ece'] == pytest.approx(0, abs=1e-6)
    assert before['log_loss'] > after['log_loss'] and before['brier'] > after['brier']
    low, high = before['ece_ci95']
    assert low < before['ece'] < high
    assert sum(row['n'] for row in after['curve']) == got['n'] == 400


def test_soft_labels_and_ties_of_pairs():
    margins = np.array([[2.0], [-1.0], [0.0]])
    sure = np.array([[0.9], [0.8], [1.0]])
    got = calibration.calibration_metrics(margins, sure, (margins, sure), pairs=True)
    assert got['before']['found'] == pytest.approx((0.9 + 0.2 + 0.5) / 3)
    missed = (expit(margins) - sure) ** 2
    assert got['before']['brier'] == pytest.approx(missed.mean())


def test_prompts_are_drawn_and_not_their_pairs():
    """Copies of a prompt's margin as more pairs leave the interval as it was."""
    margins, ones = RNG.normal(0.5, 1, (40, 1)), np.ones((40, 1))
    thrice, many = np.tile(margins, 3), np.ones((40, 3))
    one, other = (
        calibration.calibration_metrics(x, y, (x, y), pairs=True)['before']
        for x, y in ((margins, ones), (thrice, many))
    )
    assert one['ece_ci95'] == pytest.approx(other['ece_ci95'])


@pytest.mark.parametrize(
    'logits, outcomes, message',
    [
        (np.zeros((0, 1)), np.zeros((0, 1)), 'no logits'),
        (np.array([[np.nan]]), np.ones((1, 1)), 'not finite'),
    ],
)
def test_bad_input_is_one_clear_line(logits, outcomes, message):
    with pytest.raises(UserError, match=message):
        calibration.calibration_metrics(logits, outcomes, (logits, outcomes), True)
