"""Stages that lack records, and what to run without them."""

import json

import pytest
import runs

from perl.check import check
from perl.data.records import Comparison, Dataset, Demonstration
from perl.runs import needs
from perl.system.errors import UserError


def dataset(*kinds, **counts):
    """One record in every split of each kind."""
    records = {
        'text': 'a',
        'demonstrations': Demonstration('p', 'a'),
        'comparisons': Comparison('p', ('a', 'b')),
        'prompts': 'p',
    }
    made = Dataset('files', counts=counts)
    for kind in kinds:
        for rows in getattr(made, kind).values():
            rows.append(records[kind])
    return made


def test_every_stage_has_its_records():
    needs.check(
        runs.config(), dataset('text', 'demonstrations', 'comparisons', 'prompts')
    )


@pytest.mark.parametrize(
    ('kinds', 'says'),
    [
        (
            ['comparisons'],
            'pretrain: files has no text in its train split; give text in train, val; '
            'or run the others alone: --config.stages=reward '
            '--config.reward.start=base --config.model.path=BASE '
            '--config.tokenizer.kind=file --config.tokenizer.path=BASE/tokenizer',
        ),
        (
            ['text', 'comparisons', 'prompts'],
            'sft: files has no demonstrations in its train split; give demonstrations '
            'in train, val; or run the others alone: '
            '--config.stages=pretrain,reward,policy --config.reward.start=base '
            '--config.policy.start=base --config.policy.value_start=base',
        ),
        (
            ['text', 'demonstrations', 'prompts'],
            'reward: files has no comparisons in its train split; give comparisons in '
            'train, val, test; or run the others alone: '
            '--config.stages=pretrain,sft',
        ),
        ([], 'pretrain: files has no text in its train split; give text in train, val'),
    ],
)
def test_what_to_run_instead(kinds, says):
    """A policy does not run without the stage that makes its reward model."""
    with pytest.raises(UserError) as caught:
        needs.check(runs.config(), dataset(*kinds))
    assert str(caught.value) == says


def test_a_split_that_stayed_empty(tmp_path):
    """With the sizes of the others, so that nobody doubts the file."""
    data = dataset('text', 'demonstrations', 'comparisons', 'prompts')
    data.comparisons.update(train=data.comparisons['train'] * 51, test=[])
    says = (
        r'no comparisons in its test split \(train 51, val 1, test 0\); give '
        r'comparisons in train, val, test: split by something with more values, or '
        r'name the splits yourself; or run'
    )
    with pytest.raises(UserError, match=says):
        needs.check(runs.config(), data)


def test_leaks_are_told_where_they_emptied_a_split():
    with pytest.raises(UserError, match=r'train split \(40 leaks between splits were'):
        needs.check(runs.config(), dataset(leaks_dropped=40))


def test_the_flags_of_the_error_are_a_run(finished, tmp_path):
    """On own comparisons alone, with a base."""
    rows = [{'prompt': f'p{i}', 'chosen': 'a', 'rejected': 'b'} for i in range(60)]
    file = tmp_path / 'pairs.jsonl'
    file.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    own = {'data': {'name': 'files', 'comparisons': str(file)}}
    with pytest.raises(UserError, match='pretrain: files has no text in its train'):
        check(runs.config(**own), tmp_path / 'run')
    base = finished / 'pretrain' / 'base'
    flags = {
        'stages': ('reward',),
        'reward.start': 'base',
        'model.path': str(base),
        'tokenizer.kind': 'file',
        'tokenizer.path': str(base / 'tokenizer'),
    }
    settings = runs.config().unlock()
    settings.data = own['data']
    settings.update_from_flattened_dict(flags)
    found = check(settings.lock(), tmp_path / 'run')
    assert set(found['data']) == {'reward'}
