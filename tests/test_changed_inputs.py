"""What a stage reads or has left is exchanged within a run: it is noticed."""

import json
import shutil
from pkgutil import resolve_name as resolve

import jax
import numpy as np
import pytest
import runs
from commands import launch
from runs import copy, dying, killed
from small import STEPS

from perl.data.tokenizers.vocabularies import Bytes
from perl.models import store
from perl.report import run_folder
from perl.system import metrics
from perl.system.errors import UserError


def die_at(step, workdir, **changes):
    """Trains until a step of SFT is written, and dies there."""
    with pytest.raises(runs.Killed), dying('sft', step, killed):
        runs.run(runs.config(**changes), workdir)
    return workdir


@pytest.fixture(scope='module')
def halfway(finished, tmp_path_factory):
    """A run that ended at step 5 of SFT, with checkpoints after 2 and 4."""
    workdir = tmp_path_factory.mktemp('halfway') / 'run'
    return die_at(5, copy(finished, workdir, ['pretrain']))


@pytest.fixture
def workdir(halfway, tmp_path):
    """A copy to spoil."""
    return runs.clone(halfway, tmp_path / 'run')


def refused(workdir, config=None, stages=('pretrain', 'sft')):
    """The error of going on, which changes nothing on the disk."""
    before = runs.files(workdir)
    with pytest.raises(UserError) as raised:
        runs.run(config or runs.config(), workdir, stages)
    after = runs.files(workdir)
    for name in ('.lock', 'config.json', 'sft/metrics.jsonl'):
        before.setdefault(name, after.get(name))
    assert after == before
    assert '\n' not in str(raised.value)
    return str(raised.value)


def test_nothing_changed(workdir, finished):
    runs.run(runs.config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


@pytest.mark.parametrize('also', [(), ('checkpoints.json',)])
def test_checkpoints_are_gone(workdir, also):
    shutil.rmtree(workdir / 'sft' / 'checkpoints')
    for name in also:
        (workdir / 'sft' / name).unlink()
    error = refused(workdir)
    assert str(workdir / 'sft' / 'checkpoints') in error
    assert ('has lines of 5 steps' if also else 'step 4: it is missing') in error
    assert f'remove {workdir / "sft"} to train sft from the beginning' in error


def test_the_way_out_is_one(workdir, finished):
    """What the error says to remove is enough to begin anew."""
    shutil.rmtree(workdir / 'sft' / 'checkpoints')
    refused(workdir)
    shutil.rmtree(workdir / 'sft')
    runs.run(runs.config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


def test_a_checkpoint_that_cannot_be_read(workdir, monkeypatch):
    def broken(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('perl.checkpoint.seal._file_crc', broken)
    error = refused(workdir)
    assert 'cannot be read: Permission denied' in error and 'damaged' not in error


def test_killed_before_the_first_checkpoint(finished, tmp_path, capfd):
    workdir = die_at(1, copy(finished, tmp_path / 'run', ['pretrain']))
    assert not (workdir / 'sft' / 'checkpoints').exists()
    runs.run(runs.config(), workdir, ['sft'])
    assert 'sft: it ended after step 1, before its first' in capfd.readouterr().err
    runs.assert_same(workdir, finished, 'sft')


def flip(file):
    data = bytearray(file.read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)


def other_base(folder):
    """Exchanges a base for one that differs in a number."""
    arch, params = store.load(folder)
    params['norm'] = params['norm'].at[0].add(0.5)
    store.save(folder, arch, params)


def test_a_flipped_bit_of_the_base(workdir):
    flip(workdir / 'pretrain' / 'base' / 'model.safetensors')
    error = refused(workdir)
    assert f'{workdir / "pretrain" / "base"} is damaged' in error and 'sha256' in error


def test_another_base(workdir):
    other_base(workdir / 'pretrain' / 'base')
    error = refused(workdir)
    assert 'base/model.json is not what the stage pretrain has made' in error
    (workdir / 'pretrain' / 'stage.json').unlink()
    assert "made from other inputs (base: was '" in refused(workdir)


def test_another_base_at_model_path(finished, tmp_path):
    base = shutil.copytree(finished / 'pretrain' / 'base', tmp_path / 'base')
    changes = {'model.path': str(base), 'stages': ('sft',)}
    workdir = die_at(5, copy(finished, tmp_path / 'run', []), **changes)
    other_base(base)
    assert "(base: was '" in refused(workdir, runs.config(**changes), ['sft'])


def test_another_number_of_the_architecture_at_model_path(finished, tmp_path):
    """The weights are the same, and what they compute is not."""
    base = shutil.copytree(finished / 'pretrain' / 'base', tmp_path / 'base')
    changes = {'model.path': str(base), 'stages': ('sft',)}
    workdir = die_at(5, copy(finished, tmp_path / 'run', []), **changes)
    arch, params = store.load(base)
    store.save(base, store.changed(arch, rope_theta=500.0), params)
    error = refused(workdir, runs.config(**changes), ['sft'])
    assert '(architecture.rope_theta: was 10000.0, is 500.0)' in error


@pytest.mark.parametrize('kind', ['demonstrations', 'prompts'])
def test_another_data_file(tmp_path, kind):
    tables = runs.write_tables(tmp_path / 'data')
    config = runs.config(f'files={tables}', **{'pretrain.steps': 1})
    workdir = tmp_path / 'run'
    with pytest.raises(runs.Killed), dying('sft', 3, killed):
        runs.run(config, workdir)
    file = tables / f'{kind}.jsonl'
    first, *rest = file.read_text().splitlines(keepends=True)
    row = {**json.loads(first), 'prompt': 'A table for 7, please.'}
    file.write_text(''.join([json.dumps(row) + '\n', *rest]))
    if kind == 'demonstrations':
        error = refused(workdir, config)
        assert "inputs (data.demonstrations.train: was '" in error
    else:  # SFT does not read them
        runs.run(config, workdir, ['sft'])


def test_another_tokenizer(workdir):
    shutil.rmtree(workdir / 'tokenizer')
    Bytes().save(workdir / 'tokenizer')
    error = refused(workdir)
    assert f'{workdir / "pretrain"} was trained on the tokenizer' in error
    (workdir / 'pretrain' / 'stage.json').unlink()
    assert "inputs (tokenizer: was '" in refused(workdir, None, ['sft'])


def test_the_checkpoint_of_another_seed(workdir, finished, tmp_path):
    other = die_at(5, copy(finished, tmp_path / 'other', ['pretrain']), seed=1)
    shutil.rmtree(workdir / 'sft' / 'checkpoints')
    shutil.copytree(other / 'sft' / 'checkpoints', workdir / 'sft' / 'checkpoints')
    assert 'inputs (config.seed: was 1, is 0)' in refused(workdir)


def test_no_config_and_another_rate(workdir):
    (workdir / 'config.json').unlink()
    error = refused(workdir, runs.config(**{'sft.optimizer.learning_rate': 0.5}))
    assert 'config.sft.optimizer.learning_rate: was 0.001, is 0.5' in error


def edited(file, edit):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(''.join(edit(lines)))


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda lines: lines[:2], 'it has no line of step 3'),
        (lambda lines: lines[:1] + lines[2:], 'it has no line of step 2'),
        (lambda lines: lines * 2, 'it has 2 lines of step 1'),
        (lambda lines: lines[::-1], 'its lines are not in the order of their steps'),
        (lambda lines: [], 'it has no line of step 1'),
    ],
    ids=['cut', 'cut inside', 'doubled', 'turned round', 'empty'],
)
def test_the_metrics_are_edited(workdir, edit, said):
    file = workdir / 'sft' / 'metrics.jsonl'
    edited(file, edit)
    error = refused(workdir)
    assert f'{file}: {said}, but the checkpoint is of step 4' in error
    assert f'remove {workdir / "sft"} to train sft from the beginning' in error


def test_the_metrics_are_gone(workdir):
    (workdir / 'sft' / 'metrics.jsonl').unlink()
    with pytest.raises(UserError, match='it has no line of step 1'):
        runs.run(runs.config(), workdir, ['sft'])


@pytest.fixture
def done(finished, tmp_path):
    """A run whose policy is to be trained yet."""
    return copy(finished, tmp_path / 'run', ['pretrain', 'sft', 'reward'])


@pytest.mark.parametrize(
    'spoil', [flip, lambda x: x.write_text('{}'), lambda x: x.write_text('{"made"')]
)
def test_the_record_of_a_finished_stage(done, spoil):
    file = done / 'sft' / 'stage.json'
    spoil(file)
    assert f'{file} is damaged' in refused(done, stages=('pretrain', 'sft'))
    file.unlink()
    runs.run(runs.config(), done, ['pretrain', 'sft'])


def test_the_base_under_finished_stages(done):
    other_base(done / 'pretrain' / 'base')
    (done / 'pretrain' / 'stage.json').unlink()
    error = refused(done, stages=('pretrain', 'sft', 'reward'))
    assert f'{done / "sft"} was trained on the base' in error and 'remove' in error


@pytest.mark.parametrize('stage', ['sft', 'reward'])
def test_what_a_finished_stage_made(done, finished, stage):
    shutil.rmtree(done / stage / 'adapter')
    shutil.copytree(finished / 'reward_full' / 'adapter', done / stage / 'adapter')
    file = done / stage / 'adapter' / 'adapter.json'
    error = refused(done, stages=('pretrain', stage))
    assert f'{file} is not what the stage {stage} has made' in error


@pytest.mark.parametrize(
    'name', ['pretrain/base/model.safetensors', 'reward/adapter/adapter.safetensors']
)
def test_the_weights_of_a_finished_stage_are_gone(done, name):
    (done / name).unlink()
    stage = name.partition('/')[0]
    error = refused(done, stages=('pretrain', 'sft', 'reward'))
    assert error.startswith(f'{done / name} is gone; put it back, or remove')
    assert error.endswith(f'{done / stage} to train {stage} again')


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda lines: lines[:-1], f'it has no line of step {STEPS}'),
        (lambda lines: lines[:1] + lines[2:], 'it has no line of step 2'),
        (lambda lines: lines * 2, 'it has 2 lines of step 1'),
    ],
    ids=['cut', 'cut inside', 'doubled'],
)
def test_the_metrics_of_a_finished_stage_are_edited(done, capfd, edit, said):
    file = done / 'reward' / 'metrics.jsonl'
    edited(file, edit)
    runs.run(runs.config(), done, ['reward'])
    line = f'{file}: {said}; put a copy back, or remove the file'
    assert f'report: left out, could not be read: {line}' in capfd.readouterr().err
    with pytest.raises(UserError, match='put a copy back'):
        run_folder.check(done)


def test_a_finished_stage_would_be_trained_otherwise_now(done, capfd):
    runs.run(runs.config(**{'sft.optimizer.learning_rate': 0.5}), done, ['sft'])
    said = 'sft: finished before; since then: config.sft.optimizer.learning_rate: was'
    assert said in capfd.readouterr().out


def test_the_weights_that_were_best_are_gone(done, finished):
    shutil.rmtree(done / 'reward')
    results = runs.results(done)
    del results['reward']
    (done / 'results.json').write_text(json.dumps(results))
    config = runs.config(**{'reward.keep_best': True})
    with pytest.raises(runs.Killed), dying('reward', 6, killed):
        runs.run(config, done, ['reward'])
    best = (done / 'reward' / 'best').rename(done / 'elsewhere')
    for _ in range(2):
        with pytest.raises(UserError) as raised:
            runs.run(config, done, ['reward'])
        error = str(raised.value)
        assert f'cannot be read from {done / "reward" / "best"}' in error
        assert f'remove {done / "reward"} to train reward from the beginning' in error
    best.rename(done / 'reward' / 'best')
    runs.run(config, done, ['reward'])
    made = runs.trained(done / 'reward')
    shutil.rmtree(done / 'reward')
    runs.run(config, done, ['reward'])
    assert made and runs.trained(done / 'reward') == made


def removing(workdir):
    def end():
        shutil.rmtree(workdir)

    return end


@pytest.mark.parametrize('step', [2, 5, 6])
def test_the_folder_is_removed_while_it_trains(finished, tmp_path, step):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    with (
        pytest.raises((UserError, OSError), match=r'removed or moved|No such file'),
        dying('sft', step, removing(workdir)),
    ):
        runs.run(runs.config(), workdir, ['sft'])
    assert not (workdir / 'results.json').exists()


def test_config_and_tokenizer_are_removed_while_it_trains(finished, tmp_path, capfd):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    before = runs.files(workdir / 'tokenizer')

    def remove():
        (workdir / 'config.json').unlink()
        shutil.rmtree(workdir / 'tokenizer')

    with dying('sft', 3, remove):
        runs.run(runs.config(), workdir, ['sft'])
    said = capfd.readouterr().out
    assert 'config.json was removed; it is written again' in said
    assert 'tokenizer was removed while sft trained; it is written again' in said
    assert runs.files(workdir / 'tokenizer') == before
    runs.assert_same(workdir, finished, 'sft')


def test_a_stage_is_removed_after_its_last_step(finished, tmp_path, monkeypatch):
    """While its last checkpoint is saved, or while it is measured after that."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    for place in ('perl.checkpoint.Checkpoints.save', 'perl.runs.run.Run.save_role'):
        with monkeypatch.context() as patched:
            patched.setattr(place, also_removing(workdir / 'sft', resolve(place)))
            with pytest.raises(UserError, match=r'metrics.jsonl was removed or moved'):
                runs.run(runs.config(), workdir, ['sft'])
        assert 'sft' not in runs.results(workdir)
    runs.run(runs.config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


def also_removing(folder, function):
    """The function, which removes a folder once steps were taken to the last."""

    def call(*args, **kwargs):
        function(*args, **kwargs)
        if len(metrics.read(folder)) == STEPS:
            shutil.rmtree(folder)

    return call


def test_the_command_says_so_in_one_line(workdir):
    flip(workdir / 'pretrain' / 'base' / 'model.safetensors')
    assert 'is damaged' in launch(workdir, '--stages=sft').error


def test_not_a_number_in_the_base(workdir):
    folder = workdir / 'pretrain' / 'base'
    arch, params = store.load(folder)
    params['embed'] = params['embed'].at[3, 2].set(np.nan)
    store.save(folder, arch, jax.device_get(params))
    with pytest.raises(UserError, match=r'1 of \d+ numbers in embed are NaN'):
        runs.run(runs.config(), workdir, ['sft'])
