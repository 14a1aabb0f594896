"""Promise 5: whatever ends a run, the same command goes on to the same end."""

import functools
import os
import signal

import jax
import pytest
import runs
from commands import launch, strike
from runs import copy, dying, killed

from perl.system.errors import UserError
from perl.system.interrupt import Stopped
from perl.training.fit import fit
from perl.training.loop import Loop

STAGES = ('pretrain', 'sft', 'reward', 'policy')

# Each is one sitting, in order: where kill -9 strikes, at which call, before or after.
KILLS = (
    ('perl.system.metrics:Metrics.write', 3, True),  # pretrain, between two checkpoints
    ('perl.system.results.write', 1, False),  # the base is saved, its figures are not
    ('perl.checkpoint.seal.write', 2, True),  # sft, a checkpoint without its name
    ('perl.system.arrays.save', 1, True),  # sft, an adapter without its card
    ('perl.system.metrics:Metrics.write', 5, True),  # reward, just after a checkpoint
    ('perl.system.results.write', 1, False),
    ('perl.system.metrics:Metrics.write', 3, True),  # policy
    ('perl.system.samples.append', 1, True),  # policy, all but its figures
)


@pytest.fixture(scope='module')
def often_killed(tmp_path_factory):
    """A run that kill -9 has struck eight times."""
    workdir = tmp_path_factory.mktemp('killed') / 'run'
    for place, call, after in KILLS:
        before = functools.partial(strike, place, call, after=after)
        ended = launch(workdir, before=before)
        assert ended.code == -signal.SIGKILL, (place, ended)
    ended = launch(workdir)
    assert ended.code == 0, ended
    return workdir


@pytest.mark.parametrize('stage', STAGES)
def test_killed_run_ends_the_same(often_killed, finished, stage):
    runs.assert_same(often_killed, finished, stage)


def test_killed_run_has_the_same_figures(often_killed, finished):
    measured = ('seconds', 'evaluation_seconds', 'peak_bytes')
    found, wanted = (runs.results(folder) for folder in (often_killed, finished))
    for stage in STAGES:
        for name in found[stage].keys() | wanted[stage].keys():
            if name not in measured:
                assert found[stage][name] == wanted[stage][name], (stage, name)


def rubbish(workdir):
    """What a write that was killed leaves."""
    names = [path.name for path in workdir.rglob('*')]
    ends, begins = ('.tmp', '.removed'), ('.writing-', '.tmp')
    return [x for x in names if x.endswith(ends) or x.startswith(begins)]


def test_killed_run_leaves_no_rubbish(often_killed):
    assert not rubbish(often_killed)


@pytest.mark.parametrize(
    ('place', 'times'),
    [
        ('perl.system.arrays.save_file', 2),  # safetensors has written the adapter
        ('perl.checkpoint.steps:Steps.remove', 1),  # renamed, not removed
        ('perl.checkpoint.seal.write', 1),  # whole, not renamed
    ],
)
def test_rubbish_goes_at_the_next_start(finished, tmp_path, place, times):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    for _ in range(times):
        before = functools.partial(strike, place, 1)
        assert launch(workdir, '--stages=sft', before=before).code == -signal.SIGKILL
        assert len(rubbish(workdir)) == 1
    runs.run(runs.config(), workdir, ['sft'])
    assert not rubbish(workdir)
    runs.assert_same(workdir, finished, 'sft')


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_stopped_command(finished, tmp_path, number):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    before = functools.partial(strike, 'perl.system.metrics:Metrics.write', 3, number)
    ended = launch(workdir, '--stages=sft', before=before)
    assert ended.code == 130
    assert ended.err == (
        'sft: stopped and saved after step 3; the same command continues from there\n'
    )
    runs.run(runs.config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


@pytest.mark.parametrize('stage', STAGES)
def test_stopped_run_ends_the_same(finished, tmp_path, stage):
    workdir = copy(finished, tmp_path / 'run', STAGES[: STAGES.index(stage)])
    with (
        pytest.raises(Stopped, match=f'{stage}: stopped and saved after step 3'),
        dying(stage, 3, terminate),
    ):
        runs.run(runs.config(), workdir)
    assert (workdir / stage / 'checkpoints' / '3').is_dir()
    assert stage not in runs.results(workdir)
    runs.run(runs.config(), workdir, [stage])
    runs.assert_same(workdir, finished, stage)


@pytest.mark.parametrize('stage', ['sft', 'policy'])
def test_stop_at_the_last_step_ends_after_the_stage(finished, tmp_path, stage):
    before = STAGES[: STAGES.index(stage)]
    workdir = copy(finished, tmp_path / 'run', before)
    with (
        pytest.raises(Stopped, match=f'stopped after {stage}'),
        dying(stage, runs.config()[stage].steps, terminate),
    ):
        runs.run(runs.config(), workdir)
    assert list(runs.results(workdir)) == [*before, stage]
    runs.assert_same(workdir, finished, stage)


class Late:
    """Asks for a stop when it was looked at once."""

    looks = 0

    @property
    def requested(self):
        self.looks += 1
        return self.looks > 1


def test_what_is_said_to_be_saved_is(tmp_path):
    def update(state, step):
        return state + 1, {'loss': 0.0}

    start, settings = jax.numpy.zeros(2), {'steps': 9, 'save_every': 9}
    with pytest.raises(Stopped, match='saved after step 2'):
        fit(Loop(tmp_path, interrupt=Late(), **settings), start, update)
    assert (tmp_path / 'checkpoints' / '2').is_dir()


@pytest.fixture(scope='module')
def halfway(finished, tmp_path_factory):
    """A run that ended at step 5 of SFT, with checkpoints after 2 and 4."""
    workdir = tmp_path_factory.mktemp('halfway') / 'run'
    copy(finished, workdir, ['pretrain'])
    with pytest.raises(runs.Killed), dying('sft', 5, killed):
        runs.run(runs.config(), workdir)
    return workdir


def biggest(folder):
    return max(folder.rglob('*'), key=lambda path: path.is_file() * path.stat().st_size)


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES = {'truncated': truncate, 'flipped': flip, 'deleted': os.unlink}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoint_is_passed_over_aloud(
    halfway, finished, tmp_path, damage, capfd
):
    workdir = runs.clone(halfway, tmp_path / 'run')
    damage(biggest(workdir / 'sft' / 'checkpoints' / '4'))
    runs.run(runs.config(), workdir, ['sft'])
    said = capfd.readouterr().err
    assert 'DAMAGED CHECKPOINT' in said and 'going on from step 2' in said
    runs.assert_same(workdir, finished, 'sft')


def test_nothing_but_damaged_checkpoints(halfway, tmp_path):
    workdir = runs.clone(halfway, tmp_path / 'run')
    for step in '24':
        truncate(biggest(workdir / 'sft' / 'checkpoints' / step))
    before = runs.files(workdir)
    ended = launch(workdir)
    assert 'every one in' in ended.error and 'step 2' in ended.error
    assert runs.files(workdir) == before


def test_half_a_line_of_metrics_is_mended(halfway, finished, tmp_path):
    workdir = runs.clone(halfway, tmp_path / 'run')
    file = workdir / 'sft' / 'metrics.jsonl'
    file.write_text(file.read_text() + '{"step": 6, "loss": 1.')
    runs.run(runs.config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


def test_more_steps_are_another_config(halfway, tmp_path):
    workdir = runs.clone(halfway, tmp_path / 'run')
    with pytest.raises(UserError, match=r'sft.steps: was 6, is 9'):
        runs.run(runs.config(**{'sft.steps': 9}), workdir)
