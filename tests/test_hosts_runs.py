"""Two processes compute one run: the same numbers, one writes, and none waits for one
that has ended."""

import functools
import re
import signal

import pytest
import runs
from commands import launch, strike
from pairs import errors, free_port, note, pair, said

STAGES = ('sft', 'reward', 'policy')
MESH = {'mesh.data': 4}


@pytest.fixture(scope='module')
def trained(finished, tmp_path_factory):
    """A run that two processes trained; they leave logs of what they did beside it."""
    folder = tmp_path_factory.mktemp('pair')
    workdir = runs.copy(finished, folder / 'run', ['pretrain'])
    noting = [functools.partial(note, workdir, folder / f'log{i}') for i in range(2)]
    first, second = pair(workdir, before=noting)
    assert (first.code, second.code) == (0, 0), (first, second)
    return workdir, first, second


@pytest.fixture(scope='module')
def alone(finished, tmp_path_factory):
    """The same run by one process with as many devices."""
    workdir = tmp_path_factory.mktemp('alone') / 'run'
    runs.copy(finished, workdir, ['pretrain'])
    runs.run(runs.config(**MESH), workdir)
    return workdir


def assert_close(workdir, other, stage):
    found, wanted = (runs.rows(folder / stage) for folder in (workdir, other))
    assert len(found) == len(wanted) > 0
    for row, want in zip(found, wanted, strict=True):
        assert row == pytest.approx(want, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize('stage', STAGES)
def test_numbers_are_those_of_one_process(trained, alone, stage):
    assert_close(trained[0], alone, stage)


def test_figures_are_those_of_one_process(trained, alone):
    found, wanted = (runs.results(folder) for folder in (trained[0], alone))
    for stage in STAGES:
        assert found[stage].keys() == wanted[stage].keys()
        for name, x in wanted[stage].items():
            if (
                isinstance(x, int | float)
                and 'seconds' not in name
                and 'bytes' not in name
            ):
                close = pytest.approx(x, rel=1e-3, abs=1e-4)
                assert found[stage][name] == close, (stage, name)


def test_one_process_says_what_happens(trained):
    _, first, second = trained
    assert 'policy: finished' in first.out
    assert said(second.out) == said(second.err) == []


def test_the_second_process_writes_only_its_part_of_checkpoints(trained):
    lines = (trained[0].parent / 'log1.changes').read_text().splitlines()
    assert any('checkpoints' in line for line in lines), 'the log hears of files'
    inside = re.compile(r'\S+ \w+/checkpoints/\d+\.tmp/state')
    assert [line for line in lines if not inside.match(line)] == []


def test_each_process_makes_its_rows_of_a_batch(trained):
    for process, rows in enumerate(['0 1 2 3', '4 5 6 7']):
        log = (trained[0].parent / f'log{process}.rows').read_text()
        assert log.splitlines() == [f'{rows} of 8'] * 12, 'of SFT and reward'


def step(process):
    """What a process of a pair calls after each step."""
    return f'perl.system.metrics:{("Metrics", "Elsewhere")[process]}.write'


def test_stopped_killed_and_resumed(finished, alone, tmp_path):
    """A run that goes on after SIGTERM and kill -9, at last with one process."""
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    stop = functools.partial(strike, step(1), 3, signal.SIGTERM)
    for ended in pair(workdir, '--stages=sft', before=(None, stop)):
        assert ended.code == 130
        assert said(ended.err) == [
            'sft: stopped and saved after step 3; the same command continues from there'
        ]
    assert (workdir / 'sft' / 'checkpoints' / '3').is_dir()

    kill = functools.partial(strike, step(1), 2)
    first, second = pair(workdir, '--stages=sft', before=(None, kill))
    assert second.code == -signal.SIGKILL
    assert first.code == 1
    (line,) = errors(first.err)
    assert re.fullmatch(
        r'error: process 1 of 2 \(.*\) was killed or has crashed; this process ends '
        'too, and the same command in every process goes on from the last save',
        line,
    )
    assert (workdir / 'sft' / 'checkpoints' / '4').is_dir()

    runs.run(runs.config(**MESH), workdir, ['sft'])
    assert_close(workdir, alone, 'sft')


def test_the_end_of_process_0_ends_the_others(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    kill = functools.partial(strike, 'perl.runs.same_run.check_inputs', 1)
    first, second = pair(workdir, '--stages=sft', before=(kill, None))
    assert first.code == -signal.SIGKILL
    assert second.code == 1
    (line,) = errors(second.err)
    assert line.startswith('error: process 0 of 2 (')


def test_processes_that_differ_do_not_begin(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    before = runs.files(workdir)
    seeds = ((), ('--config.seed=2',))
    for ended in pair(workdir, '--stages=sft', own=seeds):
        assert ended.code == 1
        (line,) = errors(ended.err)
        assert 'process 1 of 2 differs from process 0 in its config' in line
    assert runs.files(workdir) == before


def test_processes_share_the_run_folder(tmp_path):
    for ended in pair((tmp_path / 'one', tmp_path / 'other')):
        assert ended.code == 1
        (line,) = errors(ended.err)
        assert 'is not one folder for all processes' in line


def test_a_mesh_has_all_devices(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    for ended in pair(workdir, '--config.mesh.data=2'):
        (line,) = errors(ended.err)
        assert 'mesh: 2 x 1 x 1 has 2 of the 4 devices of 2 processes' in line


def test_nobody_waits_forever_for_the_others(tmp_path):
    where = f'--coordinator=127.0.0.1:{free_port()}', '--processes=2', '--process=1'
    ended = launch(tmp_path / 'run', *where, '--start_timeout=2')
    assert ended.error.startswith('error: hosts: process 0 cannot be reached at 127.0')
