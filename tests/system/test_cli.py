"""How commands start and end."""

import os
import re
import subprocess
import sys

import pytest
import runs
from commands import CONFIG, ROOT, close_stdout, command, launch, make_noise, unplug
from jax.errors import JaxRuntimeError

import perl
from perl.system import cli

COMMANDS = [f'perl.{name}' for name in perl.COMMANDS]


def python(*args, path='', **options):
    """A Python process of its own, not from the server that tests use."""
    path = os.pathsep.join(filter(None, (str(path), str(ROOT))))
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': path},
        capture_output=True,
        check=False,
        **options,
    )


def test_as_people_type_it():
    """One real `python -m`."""
    ended = python('-m', 'perl.train', text=True)
    assert ended.returncode == 1 and ended.stdout == ''
    assert ended.stderr.startswith('error: --') and ended.stderr.count('\n') == 1
    assert ' is required: ' in ended.stderr


@pytest.mark.parametrize('module', COMMANDS)
def test_a_flag_that_is_required(module):
    ended = command(module)
    assert ended.error.startswith('error: --') and ended.out == ''
    assert ' is required: ' in ended.error


@pytest.mark.parametrize('module', COMMANDS)
def test_help(module):
    """It lists each flag that the command's modules define, `--config` too."""
    said = command(module, '--help').out
    source = (ROOT / f'{module.replace(".", "/")}.py').read_text()
    if module == 'perl.train':
        source += (ROOT / 'perl' / 'check.py').read_text()
    names = re.findall(r"DEFINE_\w+\(\s*'(\w+)'", source)
    names += ['config'] if 'define_config' in source else []
    assert {'workdir', 'target'} & {*names}
    missing = [x for x in names if not re.search(rf'^ +--(\[no\])?{x}\b', said, re.M)]
    assert missing == []


def test_the_commands_are_listed():
    ended = python('-m', 'perl', text=True)
    assert ended.returncode == 0 and ended.stderr == ''
    lines = ended.stdout.splitlines()[1:]
    assert [line.split()[2] for line in lines] == COMMANDS
    assert 'Runs the stages of an experiment in order' in lines[0]


@pytest.mark.parametrize('module', COMMANDS)
def test_interrupt_while_modules_are_imported(tmp_path, module):
    """A module of JAX's name sends the signal that Ctrl-C sends."""
    interrupt = 'import os, signal; os.kill(os.getpid(), signal.SIGINT)'
    (tmp_path / 'jax.py').write_text(f'{interrupt}\nraise ImportError\n')
    ended = python('-m', module, path=tmp_path, text=True)
    assert ended.returncode == 130 and ended.stdout == ''
    assert ended.stderr == 'stopped before anything began\n'


def test_importing_the_package_changes_nothing():
    code = (
        'import signal, sys; handler = signal.getsignal(signal.SIGINT); import perl\n'
        'assert "jax" not in sys.modules and "absl" not in sys.modules\n'
        'assert signal.getsignal(signal.SIGINT) is handler\n'
        'assert set(perl.__all__) <= set(dir(perl))'
    )
    assert python('-c', code).returncode == 0


def test_all_commands_in_one_process():
    """Flags are defined where a command runs, not where a module is imported."""
    code = (
        'import perl; from absl import flags\n'
        'for name in perl.__all__: getattr(perl, name)\n'
        'from perl import check, evaluate, generate, label, score, train\n'
        'assert "config" not in flags.FLAGS and "workdir" not in flags.FLAGS\n'
        'assert perl.run is train.run and perl.check.check is check.check\n'
        'assert perl.load_config is train.load_config\n'
    )
    ended = python('-c', code, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_name_that_the_package_does_not_have():
    with pytest.raises(AttributeError, match="'perl' has no attribute 'trian'"):
        _ = perl.trian


def test_unknown_flag_names_the_near_one(tmp_path):
    error = launch(tmp_path, '--workdri=x').error
    assert "--workdri is not a flag; did you mean '--workdir'?" in error


def test_an_argument_that_is_not_utf8():
    line = ['-m', 'perl.generate', b'--prompt=\xff', '--workdir=x']
    ended = python(*line)
    assert ended.returncode == 1
    assert ended.stderr == b'error: --prompt: the argument is not valid UTF-8\n'


def test_interrupt_while_a_config_is_read(tmp_path):
    file = tmp_path / 'slow.py'
    file.write_text('raise KeyboardInterrupt')
    ended = command('perl.train', f'--config={file}')
    assert ended.code == 130 and ended.err.count('\n') == 1
    assert ended.err == (
        'stopped; the same command continues from its last save, or begins again where '
        'it saves none\n'
    )


def test_one_line_whatever_libraries_print(tmp_path):
    ended = launch(tmp_path / 'run', before=make_noise)
    assert f'{tmp_path / "run"}: No space left on device' in ended.error


def test_nobody_reads_the_output(tmp_path):
    """As of `| head`."""
    ended = command('perl.check', f'--config={CONFIG}', before=close_stdout)
    assert ended.code == 1 and ended.err == ''


def test_no_network(finished, tmp_path):
    """Promise 8: a whole stage, evaluation and samples with nobody to call."""
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    assert launch(workdir, '--stages=sft', arg='pair', before=unplug).code == 0
    where = (f'--workdir={workdir}', '--adapter=sft', '--prompt=a')
    assert command('perl.generate', *where, before=unplug).code == 0


def test_memory_that_is_not_enough(capsys):
    with pytest.raises(SystemExit) as ended, cli.one_line_errors():
        raise MemoryError('Unable to allocate 9 bytes')
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.count('\n') == 1
    assert said.startswith('error: Unable to allocate 9 bytes: take a smaller batch')


def test_other_errors_of_a_program_are_not_hidden():
    with pytest.raises(JaxRuntimeError), cli.one_line_errors():
        raise JaxRuntimeError('INTERNAL: a fault of this package')
