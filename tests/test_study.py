"""The tables that a study makes of its runs; the runs themselves are ordinary ones."""

import json

import numpy as np
import pytest
from imported import imported


@pytest.fixture(scope='module')
def study():
    """The script as a module."""
    return imported('scripts/study.py')


@pytest.fixture
def folders(tmp_path, request):
    """Two seeds: a reward model and a policy of five iterations."""
    beta = getattr(request, 'param', 0.05)
    made = []
    for seed, gold in enumerate((0.6, 0.8)):
        folder = tmp_path / f'algorithms-seed{seed}'
        (folder / 'policy_ppo').mkdir(parents=True)
        kl = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
        d = np.sqrt(kl)
        lines = [
            {'step': i, 'kl': k, 'reward': r, 'gold': 0.5 + g}
            for i, k, r, g in zip(
                range(5), kl, d, d * (0.2 - beta * np.log(d)), strict=True
            )
        ]
        text = ''.join(json.dumps(line) + '\n' for line in lines)
        (folder / 'policy_ppo' / 'metrics.jsonl').write_text(text)
        results = {
            'sft': {'kind': 'sft'},
            'reward': {'kind': 'reward', 'accuracy': 0.75, 'trainable': 1000},
            'policy_ppo': {
                'kind': 'policy',
                'gold_before': 0.5,
                'gold_after': gold,
                'kl': 4.0,
                'trainable': 2000,
            },
        }
        (folder / 'results.json').write_text(json.dumps(results))
        made.append(folder)
    return made


def rows_of(study, folders):
    runs = [json.loads((folder / 'results.json').read_text()) for folder in folders]
    return study.rows(runs)


def test_the_table_has_means_and_deviations(study, folders):
    lines = study.table(rows_of(study, folders))
    assert lines[0] == [
        *('stage', 'seeds', 'accuracy', 'gold before', 'gold after', 'KL, nats'),
        'trained',
    ]
    assert lines[1] == ['reward', '2', '0.750 ± 0.000', '', '', '', '1,000']
    assert lines[2] == [
        *('policy_ppo', '2', '', '0.500 ± 0.000', '0.700 ± 0.141'),
        *('4.000 ± 0.000', '2,000'),
    ]
    assert study.markdown(lines).count('\n') == 4


@pytest.mark.parametrize(
    ('folders', 'beta', 'peak'),
    [(0.16, 0.16, f'{np.exp(0.2 / 0.16 - 1):.2f}'), (0.05, 0.05, 'not reached')],
    indirect=['folders'],
)
def test_a_known_curve_is_fitted(study, folders, beta, peak):
    found = study.trajectories(folders, 'policy_ppo')
    assert found['gold'].shape == (2, 5)
    _, line = study.fits(rows_of(study, folders), folders)
    assert line[0] == 'policy_ppo'
    assert line[1:] == ['0.20', f'{beta:.2f}', peak, '2.00', '1.00']


def test_the_plot_has_a_curve_a_policy(study, folders):
    figure = study.plot(rows_of(study, folders), folders)
    ends, gold, proxy = figure.axes
    assert len(gold.lines) == len(proxy.lines) == 1
    np.testing.assert_allclose(proxy.lines[0].get_xdata(), np.sqrt([0.5, 1, 2, 3, 4]))
    assert [x.get_text() for x in ends.get_yticklabels()] == ['ppo']
