"""Promise 8: no command calls another machine unless asked, whatever it reads.

Sockets are watched, not errors: a library that swallows its own failure to call home
has called home all the same.
"""

import csv
import functools
import gzip
import json
import re
import shutil
import subprocess
import sys

import foreign
import pyarrow
import pytest
import runs
import tokenizer_files
from commands import CONFIG, ROOT, command, listen
from pyarrow import parquet

TRACED = ('strace', '-f', '-q', '-e', 'trace=network', '-o')
# a call to an address of the internet; sockets of the machine itself are AF_UNIX
CALL = re.compile(r'(connect|send\w+)\(.*AF_INET')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Flags of the small experiment on own files, each of another kind."""
    folder = runs.write_tables(tmp_path_factory.mktemp('data'))
    rows = {
        kind: list(map(json.loads, (folder / f'{kind}.jsonl').read_text().splitlines()))
        for kind in ('text', 'demonstrations', 'comparisons', 'ratings', 'prompts')
    }
    table = pyarrow.Table.from_pylist(rows['text'])
    parquet.write_table(table, folder / 'text.parquet')
    lines = '\n'.join(map(json.dumps, rows['demonstrations']))
    (folder / 'demonstrations.jsonl.gz').write_bytes(gzip.compress(lines.encode()))
    with (folder / 'comparisons.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows['comparisons'][0])
        writer.writeheader()
        writer.writerows(rows['comparisons'])
    with (folder / 'ratings.tsv').open('w') as file:
        for row in (list(rows['ratings'][0]), *(x.values() for x in rows['ratings'])):
            print(*(str(x).replace('\n', ' ') for x in row), sep='\t', file=file)
    (folder / 'prompts.json').write_text(json.dumps(rows['prompts']))
    paths = {file.name.split('.')[0]: file for file in sorted(folder.iterdir())
             if file.suffix != '.jsonl'}  # fmt: skip
    assert len(paths) == 5
    return [f'--config={CONFIG}:files={folder}'] + [
        f'--config.data.{kind}={path}' for kind, path in paths.items()
    ]


def calls(log):
    return [line for line in log.read_text().splitlines() if CALL.search(line)]


def run(log, *args):
    return subprocess.run([*TRACED, log, sys.executable, *args], cwd=ROOT, check=True)


@pytest.fixture(scope='module')
def strace():
    if not shutil.which('strace'):
        pytest.skip('strace is not installed')
    if subprocess.run([*TRACED, '/dev/null', 'true'], check=False).returncode:
        pytest.skip('this machine does not let strace trace')


def test_strace_sees_a_call(strace, tmp_path):
    swallowed = (
        'import contextlib, socket\n'
        'with contextlib.suppress(OSError):\n'
        "    socket.create_connection(('127.0.0.1', 9), 1)\n"
    )
    run(tmp_path / 'log', '-c', swallowed)
    assert len(calls(tmp_path / 'log')) == 1


def test_no_system_call_goes_out(strace, files, tmp_path):
    """A whole check in a process of its own, libraries in C included."""
    run(tmp_path / 'log', '-m', 'perl.train', '--check', *files,
        f'--workdir={tmp_path / "run"}')  # fmt: skip
    assert calls(tmp_path / 'log') == []


@pytest.fixture
def heard(tmp_path):
    """A command that must not call anybody."""
    log = tmp_path / 'calls'

    def quiet(module, *args, **options):
        log.unlink(missing_ok=True)
        before = functools.partial(listen, log)
        ended = command(module, *args, before=before, **options)
        assert ended.code == 0, ended
        assert log.read_text().splitlines() == ['listening'], 'it has called somebody'

    return quiet


def test_listening_hears_a_call(tmp_path):
    """Of the library that once reported every file read as a download."""
    code = (
        'import contextlib, pathlib, socket, sys\n'
        'import commands\n'
        f'commands.listen(pathlib.Path({str(tmp_path / "calls")!r}))\n'
        'with contextlib.suppress(OSError):\n'
        "    socket.create_connection(('127.0.0.1', 9), 1)\n"
        'socket.socketpair()\n'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT / 'tests', check=True)
    heard = (tmp_path / 'calls').read_text().split()
    assert heard == ['listening', 'socket.getaddrinfo', 'socket.connect']


def test_training_on_files(files, tmp_path, heard):
    steps = ('--config.pretrain.steps=1', '--stages=pretrain')
    heard('perl.train', *files, f'--workdir={tmp_path / "run"}', *steps, draw=True)


def test_a_foreign_base(files, tmp_path, heard):
    config = {**foreign.CONFIG, 'vocab_size': 320}
    base = foreign.write(tmp_path / 'base', config=config)
    (base / 'tokenizer.json').write_text(tokenizer_files.byte_level().to_str())
    (base / 'tokenizer_config.json').write_text('{"eos_token": "</s>"}')
    flags = [f'--config.model.path={base}', '--config.stages=("sft",)', '--check']
    heard('perl.train', *files, f'--workdir={tmp_path / "run"}', *flags)


def test_commands_on_a_finished_run(finished, tmp_path, heard):
    workdir = runs.clone(finished, tmp_path / 'run')
    where = f'--workdir={workdir}'
    heard('perl.train', where, f'--config={CONFIG}:pair', draw=True)
    heard('perl.evaluate', where)
    heard('perl.generate', where, '--prompt=A table for two, please.')
    heard('perl.label', where, f'--output={tmp_path / "labels.jsonl"}',
          '--labeller=annotators', '--split=test')  # fmt: skip
