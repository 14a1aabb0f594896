"""`perl.train --check`: everything that can be known before a run, and no run."""

import json

import pytest
import runs
from commands import launch
from runs import config

from perl.check import check
from perl.system.errors import UserError


def said(ended):
    assert ended.code == 0 and ended.err == '', ended
    *lines, last = ended.out.splitlines()
    return lines, json.loads(last)


@pytest.fixture(scope='module')
def checked(tmp_path_factory):
    """The command's words and findings, with prompts and responses that are cut."""
    workdir = tmp_path_factory.mktemp('check') / 'run'
    short = ('--config.lengths.prompt=6', '--config.lengths.response=4')
    ended = launch(workdir, '--check', '--json', *short)
    assert not workdir.exists(), 'a check leaves nothing behind'
    return said(ended)


def test_words(checked):
    lines, _ = checked
    text = '\n'.join(lines)
    assert 'sft/train: 64 examples, prompt tokens p50' in text
    assert 'lora r=2: 4 kinds' in text and 'a device holds frozen' in text


def test_what_is_cut(checked):
    _, found = checked
    row = found['data']['sft']['train']
    assert row['examples'] == 64 and row['prompt_max'] == 6
    assert 0 < row['prompts_cut'] <= 64 and 0 < row['responses_cut'] <= 64


def test_what_is_trained(checked, finished):
    """Counts are those of a run."""
    _, found = checked
    figures = runs.results(finished)
    for stage in ('sft', 'reward', 'policy'):
        assert found['stages'][stage]['trainable'] == figures[stage]['trainable']


def test_bytes_a_device(checked):
    """AdamW: two moments of four bytes a parameter; the base is counted once. A policy
    holds the adapters of its reference and of its reward model too, and the latter's
    shifts and scales."""
    _, found = checked
    rows = found['stages']
    adapters = {'policy': rows['sft']['trainable'] + rows['reward']['trainable'] + 4}
    base = rows['pretrain']['bytes_a_device']['trainable']
    for stage in ('sft', 'reward', 'policy'):
        held = rows[stage]['bytes_a_device']
        assert held['frozen'] == base + 4 * adapters.get(stage, 0)
        assert held['trainable'] == held['gradients'] == 4 * rows[stage]['trainable']
        assert held['optimizer'] == pytest.approx(2 * held['trainable'], rel=0.05)


def test_mesh_larger_than_this_machine(tmp_path):
    mesh = {'mesh.data': 4, 'mesh.fsdp': 2, 'mesh.tensor': 2}
    rows = {f'{s}.batch_size': 16 for s in ('pretrain', 'sft', 'reward', 'policy')}
    found = check(config(**mesh, **rows), tmp_path / 'run')
    alone = check(config(**rows), tmp_path / 'run')
    many, one = (
        x['stages']['pretrain']['bytes_a_device']['trainable'] for x in (found, alone)
    )
    assert many < 0.4 * one, 'fsdp x tensor = 4 share the parameters'


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--config.mesh.data=3'], 'do not divide over'),
        (['--config.sft.start=nowhere'], 'sft.start'),
        (['--config.lengths.response=0'], 'lengths.response'),
        (["--config.sft.tuning.targets=('nope',)"], 'matches nothing'),
        (['--config.model.path=nowhere', "--config.stages=('sft',)"], 'nowhere'),
        (['--config.tokenizer.size=3'], 'SentencePiece'),
        (['--config.tokenizer.kind=file', '--config.tokenizer.path=nowhere'], 'nowhe'),
    ],
)
def test_errors(tmp_path, args, words):
    ended = launch(tmp_path / 'run', '--check', *args)
    assert words in ended.error
    assert not (tmp_path / 'run').exists()


def test_missing_files(tmp_path):
    tables = runs.write_tables(tmp_path / 'data')
    (tables / 'ratings.jsonl').unlink()
    with pytest.raises(UserError, match=r'no file .*ratings\.jsonl'):
        check(config(f'files={tables}'), tmp_path / 'run')


def test_a_run_that_is_there_is_not_touched(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    before = runs.files(workdir)
    said(launch(workdir, '--check', arg='pair'))
    assert runs.files(workdir) == before
