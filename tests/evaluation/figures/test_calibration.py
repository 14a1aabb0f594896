import numpy as np
import pytest
import sklearn.metrics
from scipy.special import expit

from perl.evaluation.figures import calibration, ece, temperature
from perl.system.errors import UserError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0.3, 1.5, 400)
OUTCOMES = (RNG.random(400) < expit(LOGITS)).astype(float)
EDGES = ece.equal_width(10)


def test_brier_and_log_loss_are_scikit_learns():
    p = expit(LOGITS)
    want = sklearn.metrics.brier_score_loss(OUTCOMES, p)
    assert calibration.brier(p, OUTCOMES) == pytest.approx(want)
    want = sklearn.metrics.log_loss(OUTCOMES, p)
    assert temperature.log_loss(LOGITS, OUTCOMES) == pytest.approx(want)


def test_a_calibrated_model():
    """With its own probabilities as outcomes nothing is left to mend."""
    p = expit(LOGITS)
    assert ece.ece(p, p, EDGES) == pytest.approx(0, abs=1e-15)
    assert temperature.fit(LOGITS, p) == pytest.approx(1, abs=1e-9)
    logits = RNG.normal(0, 2, 100_000)
    outcomes = RNG.random(100_000) < expit(logits)
    assert ece.ece(expit(logits), outcomes, EDGES) < 0.005
    assert temperature.fit(logits, outcomes) == pytest.approx(1, abs=0.02)


def test_pairs_are_judged_as_in_both_orders():
    """Folding a pair into the preferred order keeps loss, score and error."""
    margins = RNG.normal(0.5, 1, 60)
    ones = np.ones(60)
    got = calibration.calibration_metrics(margins, ones, (margins, ones), pairs=True)
    both = np.concatenate([margins, -margins])
    said = np.repeat([1.0, 0.0], 60)
    want = calibration.calibration_metrics(
        both, said, (margins, ones), pairs=False, bins=20
    )
    for name in ('brier', 'log_loss', 'ece'):
        assert got['before'][name] == pytest.approx(want['before'][name])
    assert got['before']['found'] == pytest.approx(np.mean(margins > 0))


def test_figures_of_an_overconfident_model():
    p = expit(LOGITS)
    sure = 4 * LOGITS
    got = calibration.calibration_metrics(sure, p, (sure, p), pairs=False)
    assert got['temperature'] == pytest.approx(4)
    before, after = got['before'], got['after']
    assert before['ece'] > before['ece_by_chance'][1]
    assert after['ece'] == pytest.approx(0, abs=1e-6)
    assert before['log_loss'] > after['log_loss'] and before['brier'] > after['brier']
    low, high = before['ece_ci95']
    assert 0 < low < before['ece'] < high
    assert after['ece_ci95'][0] == 0
    assert sum(row['n'] for row in after['curve']) == got['n'] == 400


def test_soft_labels_and_equal_scores_of_pairs():
    margins = np.array([2.0, -1.0, 0.0])
    sure = np.array([0.9, 0.8, 1.0])
    got = calibration.calibration_metrics(margins, sure, (margins, sure), pairs=True)
    assert got['before']['found'] == pytest.approx((0.9 + 0.2 + 0.5) / 3)
    missed = (expit(margins) - sure) ** 2
    assert got['before']['brier'] == pytest.approx(missed.mean())


def test_labelled_ties_have_a_calibration_of_their_own():
    """What is decided is measured as if the ties were not there."""
    margins = np.array([2.0, -1.0, 3.0, -0.5])
    sure = np.array([1.0, 0.9, 0.5, 0.5])
    got = calibration.calibration_metrics(margins, sure, (margins, sure), pairs=True)
    decided = margins[:2], sure[:2]
    want = calibration.calibration_metrics(*decided, decided, pairs=True)
    ties = got.pop('ties')
    assert got == want and got['n'] == 2
    confidence = (expit(3) + expit(0.5)) / 2
    assert ties['n'] == 2
    assert ties['before']['confidence'] == pytest.approx(confidence)
    assert ties['before']['ece'] == pytest.approx(confidence - 0.5)
    scaled = expit(np.array([3, 0.5]) / got['temperature']).mean()
    assert ties['after']['confidence'] == pytest.approx(scaled)


def test_a_rating_of_one_half_is_no_tie():
    got = calibration.calibration_metrics(
        np.array([1.0, 2.0]), np.array([0.5, 1.0]), (np.ones(1), np.ones(1)), False
    )
    assert got['n'] == 2 and 'ties' not in got


def test_pairs_of_one_prompt_widen_the_interval():
    margins, ones = RNG.normal(0.5, 1, 40), np.ones(40)
    once = calibration.calibration_metrics(margins, ones, (margins, ones), True)
    often = calibration.calibration_metrics(
        *(np.repeat(x, 3) for x in (margins, ones)),
        (margins, ones),
        True,
        np.repeat(np.arange(40), 3),
    )
    for name in ('ece_ci95', 'ece_by_chance'):
        assert often['before'][name] == pytest.approx(once['before'][name])


@pytest.mark.parametrize(
    'logits, outcomes, message',
    [
        (np.zeros(0), np.zeros(0), 'no logits'),
        (np.array([np.nan]), np.ones(1), 'not finite'),
        (np.ones(2), np.full(2, 0.5), 'all pairs are labelled as ties'),
    ],
)
def test_bad_input_is_one_clear_line(logits, outcomes, message):
    with pytest.raises(UserError, match=message):
        calibration.calibration_metrics(logits, outcomes, (logits, outcomes), True)
