"""`perl.train --check`: everything that can be known before a run, and no run."""

import dataclasses
import json

import pytest
import runs
from commands import CONFIG, command, launch
from runs import config

from perl import check as checking
from perl.check import check
from perl.data.records import Comparison
from perl.runs import opening
from perl.system.capacity import Capacity
from perl.system.errors import UserError


def said(ended):
    """Its lines, and the findings of a command with `--json`."""
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
    """Lengths are those before anything is cut."""
    lines, found = checked
    row = found['data']['sft']['train']
    assert row['examples'] == row['responses'] == 64
    assert row['prompt_max'] > 6 and row['response_max'] > 4
    assert 0 < row['prompts_cut'] <= 64 and 0 < row['responses_cut'] <= 64
    kept = row['prompt_tokens'] + row['prompt_tokens_cut']
    room = {'model.max_length': 256, 'lengths.prompt': 128, 'lengths.response': 128}
    whole = check(config(**room), 'nowhere')['data']['sft']['train']
    assert kept == whole['prompt_tokens'] and whole['prompt_tokens_cut'] == 0
    assert row['prompt_max'] == whole['prompt_max']
    cut = next(line for line in lines if line.startswith('sft/train: cut'))
    assert f'cut {row["prompts_cut"]} prompts ({row["prompt_tokens_cut"]:,} tok' in cut
    assert f' and {row["responses_cut"]} responses (' in cut


def test_epochs(checked):
    """Steps of a batch over the examples there are."""
    _, found = checked
    data = found['data']
    assert data['sft']['train']['epochs'] == 6 * 8 / 64
    assert data['policy']['train']['epochs'] == 6 * 8 / 32
    rows = data['pretrain']['train']['rows']
    assert data['pretrain']['train']['epochs'] == 6 * 8 / rows
    assert 'epochs' not in data['sft']['val']


def test_text_to_pretrain_on(checked):
    lines, found = checked
    row = found['data']['pretrain']['train']
    assert row['documents'] == 120 and row['tokens'] > row['document_max'] > 2
    assert lines[0].startswith(f'pretrain/train: 120 documents of {row["tokens"]:,} to')


def test_odd_comparisons(tmp_path, monkeypatch):
    """Ties and equal completions are told, whichever the reader."""
    read = opening.open_data
    odd = [Comparison('a', ('x', 'x'))] * 3 + [Comparison('a', ('x', 'y'), 0.0, 0.5)]

    def changed(config):
        dataset = read(config)
        pairs = {**dataset.comparisons, 'train': odd}
        return dataclasses.replace(dataset, comparisons=pairs)

    monkeypatch.setattr(opening, 'open_data', changed)
    found = check(config(), tmp_path / 'run')
    row = found['data']['reward']['train']
    assert (row['ties'], row['equal_completions']) == (1, 3)
    line = [x for x in checking.lines(found) if x.startswith('reward/train')][1]
    assert line.endswith('equal completions 3, dropped 3, ties 1')


def test_labels_on_one_side(tmp_path):
    tables = runs.write_tables(tmp_path / 'data')
    file = tables / 'ratings.jsonl'
    rows = map(json.loads, file.read_text().splitlines())
    file.write_text(''.join(json.dumps({**row, 'label': 1}) + '\n' for row in rows))
    settings = config(f'files={tables}', **{'reward.loss': 'pointwise'})
    found = check(settings, tmp_path / 'run')
    row = found['data']['reward']['train']
    assert row['good_ratings'] == row['examples'] > 0
    found['data'] = {'reward': found['data']['reward']}
    assert 'all labels are on one side' in '\n'.join(checking.lines(found))


def test_rows_of_the_vocabulary_without_a_piece(finished, tmp_path):
    """A base with more rows than its tokenizer has pieces."""
    tokenizer = {'kind': 'bytes'}
    changes = {f'tokenizer.{name}': x for name, x in tokenizer.items()}
    base = {'model.path': str(finished / 'pretrain' / 'base')}
    stages = ('sft', 'reward', 'policy')
    with pytest.raises(UserError, match='it is not the one that the base'):
        check(config(stages=stages, **base, **changes), tmp_path / 'run')
    own = {'tokenizer.kind': 'file', 'tokenizer.path': str(finished / 'tokenizer')}
    found = check(config(stages=stages, **base, **own), tmp_path / 'run')
    assert found['vocabulary'] == {'rows': 420, 'pieces': 420, 'padding': 0}
    found['vocabulary'] = {'rows': 448, 'pieces': 420, 'padding': 28}
    assert (
        'vocabulary: the base has 448 rows, the tokenizer 420 pieces: 28 rows are '
        'padding'
    ) in checking.lines(found)


def test_json_only_where_it_is_asked_for(tmp_path):
    plain = command('perl.check', f'--config={CONFIG}', f'--workdir={tmp_path}')
    assert plain.code == 0 and plain.err == '' and '{' not in plain.out
    both = launch(tmp_path, '--check', '--json')
    lines, found = said(both)
    assert lines == plain.out.splitlines() and found['config'] == 'small'


def test_stages_that_do_not_run(tmp_path):
    found = check(config(stages=('pretrain', 'sft')), str(tmp_path / 'run'))
    assert found['not_run'] == ['policy', 'reward']
    assert checking.lines(found)[0] == 'not run: policy, reward'


@pytest.mark.parametrize('module', ['perl.check', 'perl.train'])
def test_stages_that_are_misspelled(tmp_path, module):
    args = (f'--config={CONFIG}', '--stages=nothing,sft')
    check_ = ('--check',) if module == 'perl.train' else ()
    assert (
        "--stages: 'nothing' is not among the stages that this config runs (pretr"
        in command(module, *args, *check_).error
    )
    args = (f'--config={CONFIG}', '--stages=rewrd')
    assert "did you mean 'reward'?" in command(module, *args, *check_).error


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
        (
            [
                "--config.sft.tuning.targets=('nope',)",
                "--config.stages=('pretrain','sft')",
            ],
            "sft.tuning.targets: 'nope' matches nothing",
        ),
        (['--config.model.path=nowhere', "--config.stages=('sft',)"], 'nowhere'),
        (['--config.tokenizer.size=3'], 'tokenizer.size: 3 pieces are too few'),
        (
            ['--config.policy.reward=json:dumps'],
            'policy.reward: json:dumps: the reward function raised',
        ),
        (
            [
                '--config.policy.reward=endpoint',
                '--config.policy.judge.url=ftp://a:b@c',
            ],
            "policy.judge.url: 'ftp://c' is not an HTTP address",
        ),
        (['--config.tokenizer.kind=file', '--config.tokenizer.path=nowhere'], 'nowhe'),
    ],
)
def test_errors(tmp_path, args, words):
    ended = launch(tmp_path / 'run', '--check', *args)
    assert words in ended.error
    assert not (tmp_path / 'run').exists()


def test_memory_that_this_machine_lacks(tmp_path, monkeypatch, capsys):
    """The findings come first, so that a person sees what is large."""
    small = Capacity('this machine', total=2**15, free=2**15)
    monkeypatch.setattr(checking.capacity, 'capacity', lambda devices: small)
    with pytest.raises(UserError, match=r'^pretrain: it needs 14\d\.\d KiB of memory'):
        checking.show(config(), tmp_path / 'run')
    text = capsys.readouterr().out
    assert 'a device holds frozen' in text and 'would stop' not in text


def test_memory_of_devices_that_are_not_here_is_unknown(tmp_path):
    rows = {f'{s}.batch_size': 16 for s in ('pretrain', 'sft', 'reward', 'policy')}
    rows['evaluation.batch_size'] = 16
    found = check(config(**{'mesh.data': 16}, **rows), tmp_path / 'run')
    assert found['memory'] is None
    assert check(config(), tmp_path / 'run')['memory']['total'] > 2**28


def test_missing_files(tmp_path):
    tables = runs.write_tables(tmp_path / 'data')
    (tables / 'ratings.jsonl').unlink()
    with pytest.raises(UserError, match=r'no file .*ratings\.jsonl'):
        check(config(f'files={tables}'), tmp_path / 'run')


def test_a_run_that_is_there_is_not_touched(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    before = runs.files(workdir)
    said(launch(workdir, '--check', '--json', arg='pair'))
    assert runs.files(workdir) == before
