"""configs/files.py: a person's files become stages by arguments alone."""

import json

import pytest
import runs
from commands import ROOT
from test_dataset_configs import tiny

from perl import check
from perl import config as configs
from perl.config import rules
from perl.data import Comparison, Demonstration
from perl.runs.opening import open_data
from perl.system.errors import UserError

FILE = ROOT / 'configs' / 'files.py'
ROWS = [
    {
        'question': f'What is {i} and {i}?',
        'answer': f'It is {2 * i}.',
        'chosen': f'{2 * i}.',
        'rejected': f'I think {i}.',
        'label': i % 2,
    }
    for i in range(60)
]


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A file with the columns of every kind, in the working directory."""
    text = ''.join(json.dumps(row) + '\n' for row in ROWS)
    (tmp_path / 'pairs.jsonl').write_text(text)
    (tmp_path / 'docs.jsonl').write_text(
        ''.join(f'{{"text": "Page {i}."}}\n' for i in range(60))
    )
    monkeypatch.chdir(tmp_path)


def load(*arguments):
    config = configs.load_config(f'{FILE}:{",".join(arguments)}')
    rules.validate(config)
    return config


@pytest.mark.parametrize(
    ('arguments', 'stages'),
    [
        (['demonstrations=a'], ('pretrain', 'sft')),
        (['comparisons=a'], ('pretrain', 'reward')),
        (['ratings=a', 'demonstrations=b'], ('pretrain', 'sft', 'reward')),
        (
            ['comparisons=a', 'demonstrations=b', 'prompts=c'],
            ('pretrain', 'sft', 'reward', 'policy'),
        ),
        (['comparisons=a', 'base=folder'], ('reward',)),
    ],
)
def test_a_stage_for_each_kind(arguments, stages):
    config = load(*arguments)
    assert config.stages == stages
    start = 'sft' if 'sft' in stages else 'base'
    assert config.reward.start == config.policy.start == start
    pointwise = config.reward.loss == 'pointwise'
    assert pointwise == any(x.startswith('ratings') for x in arguments)


def test_the_other_arguments_reach_the_stages():
    config = load('comparisons=a', 'tuning=full', 'algorithm=grpo', 'seed=3')
    assert (config.seed, config.policy.algorithm) == (3, 'grpo')
    assert {config[x].tuning.name for x in ('sft', 'reward', 'policy')} == {'full'}
    assert load('comparisons=a', 'rank=2').reward.tuning.rank == 2


def test_a_base_brings_its_tokenizer():
    config = load('comparisons=a', 'base=folder')
    assert (config.model.path, config.tokenizer.kind) == ('folder', 'file')
    assert 'text' not in config.data


def test_nothing_runs_together(pairs):
    """A space parts a response from its prompt, in every kind."""
    names = ('comparisons', 'demonstrations', 'prompts')
    files = [f'{name}=pairs.jsonl' for name in names]
    data = open_data(load(*files, 'prompt=question', 'response=answer'))
    found = {
        kind: [row for rows in getattr(data, kind).values() for row in rows]
        for kind in ('comparisons', 'demonstrations', 'prompts', 'text')
    }
    prompt = 'What is 7 and 7?'
    assert Comparison(prompt, (' 14.', ' I think 7.')) in found['comparisons']
    assert Demonstration(prompt, ' It is 14.') in found['demonstrations']
    assert prompt in found['prompts'] and f'{prompt} It is 14.' in found['text']


def test_text_of_its_own(pairs, tmp_path):
    config = load('comparisons=pairs.jsonl', 'prompt=question', 'text=docs.jsonl')
    config = config.unlock()
    config.tokenizer.kind = 'bytes'
    found = check.check(config, tmp_path / 'run')
    assert sum(x['documents'] for x in found['data']['pretrain'].values()) == 60


def test_ratings_are_trained_on(pairs, tmp_path):
    arguments = ('ratings=pairs.jsonl', 'prompt=question', 'response=answer')
    config = tiny(load(*arguments).unlock(), tmp_path)
    with config.unlocked():
        del config.data.root
    figures = runs.run(config, tmp_path / 'run')
    assert set(figures) == {'pretrain', 'reward'}
    assert figures['reward']['reward_kind'] == 'pointwise'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ([], r'no file is given; write one after the colon: demonstrations=FILE, '),
        (['comparisons=a', 'ratings=b'], 'give one of them'),
        (['comparison=a'], "'comparison' is unknown; did you mean 'comparisons'"),
    ],
)
def test_one_line_errors(arguments, said):
    with pytest.raises(UserError, match=said):
        load(*arguments)
