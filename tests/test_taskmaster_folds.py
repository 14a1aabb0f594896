"""The script that compares settings on folds of the Taskmaster ratings."""

import argparse
import dataclasses

import pytest
from imported import imported

from perl.data.records import Dataset, Rating
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def script():
    return imported('scripts/taskmaster_folds.py')


@pytest.fixture
def dataset():
    """Twelve dialogs of three ratings, good where the agent is kind; a test split."""
    made = Dataset('made up')
    for dialog in range(12):
        for turn in range(3):
            more = f' hm\nuser: {turn}\nagent:' * turn
            prompt = f'user: hello {dialog}\nagent:{more}'
            kind = (dialog + turn) % 2
            rating = Rating(prompt, ' gladly' if kind else ' no', float(kind))
            made.ratings['val' if dialog > 9 else 'train'].append(rating)
    made.ratings['test'].append(Rating('user: hidden\nagent:', ' no', 0.0))
    return made


def test_folds_cut_between_dialogs(script, dataset):
    folds = [part.ratings for part in script.folds(dataset)]
    whole = dataset.ratings['train'] + dataset.ratings['val']
    held_out = [rating for part in folds for rating in part['test']]
    assert sorted(map(repr, held_out)) == sorted(map(repr, whole))
    for part in folds:
        assert part['val'] == part['test']
        dialogs = [set(map(script.first_user, part[x])) for x in ('train', 'test')]
        assert dialogs[1] and not dialogs[0] & dialogs[1]
        assert len(part['train']) + len(part['test']) == len(whole)


def test_bag_of_words_reads_the_agent(script, dataset):
    assert script.bag_of_words(next(script.folds(dataset))) == 1


def test_bag_of_words_reads_the_end_of_the_context(script, dataset):
    fold = next(script.folds(dataset))

    def said(row):
        prompt = f'{row.prompt} {"no" if row.label else "yes"}'
        return dataclasses.replace(row, prompt=prompt, response=' so')

    ratings = {split: [*map(said, rows)] for split, rows in fold.ratings.items()}
    fold = dataclasses.replace(fold, ratings=ratings)
    assert script.bag_of_words(fold, 4) == 1
    assert script.bag_of_words(fold, 0) == 0.5


def test_each_fold_has_its_seed(script, dataset, monkeypatch, capsys):
    seen = []

    def train(part, config, base):
        seen.append((config.seed, config.reward.steps, config.reward.tuning.rank))
        assert str(base) == 'there/ticketing/base'
        return 0.5 + config.seed / 10

    monkeypatch.setattr(script, 'reward_model', train)
    monkeypatch.setattr(script.opening, 'open_data', lambda config: dataset)
    args = ['--root=.', '--workdir=there', '--folds=3', '--model=lora r=4']
    script.main([*args, '--set', 'reward.steps=7'])
    assert seen == [(seed, 7, 4) for seed in range(3)]
    said = 'ticketing, lora r=4: 0.600 (0.500, 0.600, 0.700)\n'
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    'change, says',
    [
        (('reward.stepps', 7), '--set reward.stepps=7'),
        (('reward.steps', 'many'), "--set reward.steps='many'"),
        (('reward.steps', 0), 'reward.steps: 0 must be greater than 0'),
    ],
)
def test_changes_that_cannot_be(script, change, says):
    config = script.table.config_of('ticketing', '.')
    with pytest.raises(UserError, match=says):
        script.changed(config, [change])


def test_without_a_base_the_error_says_what_makes_one(script, dataset, tmp_path):
    config = script.table.config_of('ticketing', '.')
    with pytest.raises(UserError, match=r'run scripts/taskmaster_table\.py first'):
        script.reward_model(dataset, config, tmp_path)


def test_a_change_has_a_name_and_a_value(script):
    assert script.change('reward.steps=7') == ('reward.steps', 7)
    with pytest.raises(argparse.ArgumentTypeError, match='is not name=value'):
        script.change('reward.steps')
