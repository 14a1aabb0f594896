import numpy as np
import pytest

from perl.report import trajectories
from perl.system import metrics, results


def run(folder, alpha, beta, stage='policy'):
    """A run whose gold reward follows the curve of over-optimisation."""
    out = metrics.Metrics(folder / stage)
    for step in range(33):
        d = step / 8
        gold = 0.4 + d * (alpha - beta * np.log(d or 1))
        out.write(step + 1, {'kl': d * d, 'reward': d, 'gold': gold})
    figures = {'kind': 'policy', 'kl': 16.0, 'reward_after': 4.0, 'gold_after': 0.5}
    results.write(folder, stage, figures)
    return folder


def test_a_trajectory_is_fitted_and_thinned(tmp_path):
    (policy,) = trajectories.trajectories([run(tmp_path / 'a', 0.6, 0.5)])['policies']
    assert policy['label'] == 'policy' and len(policy['points']) == 16
    assert policy['held_out'] == {'kl': 16.0, 'reward': 4.0, 'gold': 0.5}
    fit = policy['curves']['gold']['fit']
    assert (fit['alpha'], fit['beta']) == (pytest.approx(0.6), pytest.approx(0.5))
    assert policy['curves']['gold']['gain'][0] == pytest.approx(0, abs=1e-9)
    assert policy['curves']['reward']['fit']['beta'] == pytest.approx(0, abs=1e-9)


def test_the_better_run_makes_the_frontier(tmp_path):
    folders = [run(tmp_path / 'a', 0.6, 0.3), run(tmp_path / 'b', 0.5, 0.3)]
    found = trajectories.trajectories(folders)
    assert [policy['label'] for policy in found['policies']] == ['a/policy', 'b/policy']
    assert {row['label'] for row in found['gold'][1:]} == {'a/policy'}
    assert found['gold'][-1]['gold'] == max(row['gold'] for row in found['gold'])


def test_several_policies_of_one_run(tmp_path):
    folder = run(tmp_path / 'a', 0.6, 0.3)
    run(folder, 0.5, 0.3, stage='policy_full')
    policies = trajectories.trajectories([folder])['policies']
    labels = [policy['label'] for policy in policies]
    assert labels == ['policy', 'policy_full']


def test_without_gold_and_without_an_end(tmp_path):
    out = metrics.Metrics(tmp_path / 'policy')
    for step in range(3):
        out.write(step + 1, {'kl': step, 'reward': step})
    found = trajectories.trajectories([tmp_path])
    assert found['gold'] == [] and found['policies'][0]['held_out'] == {}
    assert set(found['policies'][0]['curves']) == {'reward'}
    (tmp_path / 'none').mkdir()
    assert trajectories.trajectories([tmp_path / 'none']) == {}


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [run(tmp_path / name / 'run', 0.6, 0.3) for name in 'ab']
    found = trajectories.trajectories([*folders, folders[0]])
    labels = [policy['label'] for policy in found['policies']]
    assert labels == ['a/run/policy', 'b/run/policy'], 'each folder once'
