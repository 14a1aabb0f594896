"""The Taskmaster configs and the script that makes their table."""

import numpy as np
import pytest
from commands import ROOT
from imported import imported

from perl import check, train
from perl.config import rules
from perl.losses.algorithms import ALGORITHMS
from perl.system.errors import UserError

NAMES = ('coffee', 'ticketing')


def load(name, arg=''):
    return train.load_config(str(ROOT / f'configs/taskmaster_{name}.py:{arg}'))


@pytest.fixture(scope='module')
def script():
    return imported('scripts/taskmaster_table.py')


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('tuning', ['full', 'lora'])
def test_arguments_reach_the_stages(name, algorithm, tuning):
    config = load(name, f'tuning={tuning},rank=4,algorithm={algorithm},seed=2')
    rules.validate(config)
    assert config.data.name == config.name == f'taskmaster_{name}'
    assert config.seed == 2
    assert config.policy.algorithm == algorithm
    assert config.reward.loss == 'pointwise'
    for stage in (config.reward, config.policy):
        assert (stage.tuning.name, stage.tuning.rank) == (tuning, 4)
    assert config.sft.tuning.name == 'full'


@pytest.mark.parametrize('name', NAMES)
def test_lora_learns_about_ten_times_as_fast(name):
    """As in the paper, arXiv 2403.10704, A.3."""
    for stage in ('reward', 'policy'):
        full, lora = (
            load(name, f'tuning={tuning}')[stage].optimizer.learning_rate
            for tuning in ('full', 'lora')
        )
        assert 5 <= lora / full <= 20


@pytest.mark.parametrize('name', NAMES)
def test_unknown_argument_names_the_near_miss(name):
    with pytest.raises(UserError, match=r"'tunning' is unknown.*'tuning'"):
        load(name, 'tunning=full')


@pytest.mark.parametrize('name', NAMES)
def test_without_data_the_error_says_where_to_get_them(name, tmp_path):
    config = load(name)
    config.data.root = str(tmp_path)
    with pytest.raises(UserError, match=r'github\.com/google-research-datasets'):
        check.check(config, tmp_path / 'run')


def test_check_counts_what_the_window_cuts(shared, tmp_path):
    config = load('ticketing')
    config.data.root = str(shared / 'data/taskmaster')
    found = check.check(config, tmp_path / 'run')
    reward = found['data']['reward']
    assert [reward[split]['examples'] for split in reward] == [2891, 467, 294]
    # Most dialogs about tickets are longer than the window.
    assert 0.5 < reward['train']['prompts_cut'] / 2891 < 0.9
    assert not (tmp_path / 'run').exists()


def row(tuning, seed, auc, dataset='coffee'):
    return {
        'dataset': dataset,
        'tuning': tuning,
        'seed': seed,
        'trainable': 1000,
        'auc': auc,
        'balanced_accuracy': auc - 0.1,
        'accuracy': 0.8,
        'seconds': 10.0 * (seed + 1),
        'step_bytes': 2**21,
    }


def test_step_seconds_is_deaf_to_a_compilation(script):
    rows = [{'seconds': x} for x in (9.0, 9.1, 9.2, 12.0, 12.1)]
    assert script.step_seconds(rows) == pytest.approx(0.1)


def test_finished_trains_nothing(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.train, 'run', lambda *args: None)
    monkeypatch.setattr(script, 'measure', lambda *args: {})
    monkeypatch.setattr(script, 'reward_run', lambda *args: pytest.fail('trained'))
    script.main(['--root=there', f'--workdir={tmp_path}', '--finished'])
    assert not list(tmp_path.iterdir())


def test_summary_is_over_seeds(script):
    rows = [row('full', s, auc) for s, auc in enumerate((0.6, 0.7, 0.8))]
    rows.append(row('lora r=1', 0, 0.5))
    full, lora = script.summary(rows)
    assert (full['seeds'], lora['seeds']) == (3, 1)
    assert full['auc'] == pytest.approx(0.7)
    assert full['auc_std'] == pytest.approx(np.std([0.6, 0.7, 0.8], ddof=1))
    assert full['seconds'] == 10  # the least disturbed
    assert lora['auc_std'] == 0


def test_write_puts_baselines_beneath_each_data_set(script, tmp_path):
    rows = [row('full', 0, 0.7, name) for name in NAMES]
    names = ('majority', 'length', 'bag_of_words')
    figures = {x: {'auc': 0.51, 'balanced_accuracy': 0.52} for x in names}
    text = script.write(tmp_path, rows, dict.fromkeys(NAMES, figures))
    cells = [line.split('|') for line in text.splitlines()[2:]]
    assert [cell[2].strip() for cell in cells] == [
        *('full', 'majority', 'length', 'bag of words'),
        *('full', 'majority', 'length', 'bag of words'),
    ]
    assert '| 1 | 0.700 | 0.600 | 10 | 2 |' in text  # one seed has no deviation
    assert (tmp_path / 'table.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'table.csv').read_text().count('\n') == 3
