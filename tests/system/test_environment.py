"""What a run folder says of where and how it was computed."""

import datetime
import shutil
import subprocess
import sys

import jax

from perl.system import environment, jsonl


def test_each_sitting_is_a_line(tmp_path):
    file = tmp_path / environment.SITTINGS
    file.write_text('{"date": "before"}\n{"half')
    environment.record(tmp_path)
    before, row = jsonl.rows(file)
    assert before == {'date': 'before'}
    assert [*row] == [
        *('date', 'command', 'perl', 'commit', 'python', 'jax', 'numpy'),
        *('host', 'platform', 'cores', 'backend', 'device', 'devices'),
    ]
    assert datetime.datetime.fromisoformat(row['date']).tzinfo is datetime.UTC
    assert row['jax'] == jax.__version__ and row['devices'] == len(jax.devices())
    assert row['backend'] == jax.default_backend()
    assert row['cores'] >= 1 and row['host'] and row['platform'] and row['python']


def test_the_command_has_no_secrets(monkeypatch):
    secrets = ['--url=https://me:p@ss@host/v1?api_key=abc&b=c', 'a b', 'x@y']
    monkeypatch.setattr(sys, 'argv', ['/path/train.py', *secrets])
    command = environment.command()
    assert 'ss@' not in command and 'abc' not in command and 'me:' not in command
    assert command.endswith("'--url=https://***@host/v1?api_key=***&b=***' 'a b' x@y")


def git(folder, *arguments):
    user = ('-c', 'user.name=x', '-c', 'user.email=x@example.com')
    subprocess.run(['git', *user, *arguments], cwd=folder, check=True)


def test_the_commit_is_that_of_the_package(tmp_path):
    assert environment.commit(tmp_path) == ''
    git(tmp_path, 'init', '-q')
    (tmp_path / 'environment.py').write_text('')
    assert environment.commit(tmp_path) == '', 'installed in a project of another'
    git(tmp_path, 'add', '.')
    git(tmp_path, 'commit', '-qm', 'x')
    head = environment.commit(tmp_path)
    assert len(head) >= 12 and int(head, 16)
    (tmp_path / 'environment.py').write_text('x')
    assert environment.commit(tmp_path) == f'{head}+'


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert shutil.which('git') is None and environment.commit(tmp_path) == ''
