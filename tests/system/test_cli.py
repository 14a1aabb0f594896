"""How commands start and end."""

import subprocess
import sys

import pytest
import runs
from commands import ROOT, command, launch, unplug

COMMANDS = ['perl.train', 'perl.evaluate', 'perl.generate', 'perl.label']


@pytest.mark.parametrize('module', COMMANDS)
def test_as_people_type_it(module):
    """One real `python -m`, not from the server that tests use."""
    line = [sys.executable, '-m', module]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and ended.stdout == ''
    assert ended.stderr.startswith('error: ') and ended.stderr.count('\n') == 1


@pytest.mark.parametrize('module', COMMANDS)
def test_help(module):
    ended = command(module, '--help')
    assert '--workdir' in ended.out + ended.err


def test_unknown_flag_names_the_near_one(tmp_path):
    assert 'Did you mean: workdir' in launch(tmp_path, '--workdri=x').error


def test_no_network(finished, tmp_path):
    """Promise 8: a whole stage, evaluation and samples with nobody to call."""
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    assert launch(workdir, '--stages=sft', arg='pair', before=unplug).code == 0
    where = (f'--workdir={workdir}', '--adapter=sft', '--prompt=a')
    assert command('perl.generate', *where, before=unplug).code == 0
