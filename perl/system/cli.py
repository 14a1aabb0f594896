"""How every command starts and ends: flags, one-line errors, exit codes."""

import asyncio.log
import contextlib
import os
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging
from jax.errors import JaxRuntimeError
from ml_collections import ConfigDict, config_flags
from safetensors import SafetensorError

from perl.system import compilation_cache, disk, exhausted, flag_words, leaving
from perl.system.errors import UserError
from perl.system.interrupt import Stopped
from perl.system.suggest import choose, meant_setting

STOPPED = 130  # as a shell reports a program that Ctrl-C ended
_CHANGE = r'^--?(?:no)?config\.([^=\n]+)'


def run(main: Callable[[Sequence[str]], None], required: Sequence[str] = ()) -> None:
    """Parses flags and calls `main`; prints a user's error as one line."""
    _quiet_libraries()
    _list_flags()
    compilation_cache.turn_on()
    with leaving.together(), one_line_errors():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # see perl.__init__
        app.run(main, flags_parser=lambda argv: _parse(argv, required))


def define_config(load: Callable[[str], ConfigDict]) -> None:
    """Defines the flag `--config`; `--config.name=value` changes its values.

    Args:
        load: loads the config from `file.py[:arguments]` or `config.json`.
    """
    config_flags.DEFINE_config_file(
        'config',
        help_string='FILE.py, FILE.py:argument=value or the config.json of a run; '
        '--config.NAME=VALUE changes a setting, such as --config.sft.steps=10',
    )
    flags.FLAGS['config'].parser = _ConfigParser(load)


def output(path: str, *inputs: str) -> pathlib.Path:
    """The file that a flag `--output` names.

    Args:
        path: of the flag.
        *inputs: the files that the command reads; '' stands for none.

    Raises:
        UserError: it is one of those, or a folder.
    """
    file = pathlib.Path(path)
    if file.resolve() in [pathlib.Path(x).resolve() for x in inputs if x]:
        raise UserError(f'--output: {file} is an input file; name another file')
    if file.is_dir():
        raise UserError(f'--output: {file} is a folder; name a file')
    return file


class _ConfigParser(flags.ArgumentParser):
    """Loads the config that a flag names."""

    def __init__(self, load: Callable[[str], ConfigDict]):
        self._load = load

    def parse(self, argument: Any) -> ConfigDict:
        """The config at a path."""
        return self._load(argument)

    def flag_type(self) -> str:
        """The type's name in the help."""
        return 'config object'


def _parse(argv, required):
    values = flags.FLAGS
    for argument in argv:
        if _undecodable(argument):
            _fail(f'{argument.partition("=")[0]}: the argument is not valid UTF-8')
    try:
        rest = values([flag_words.as_tuple(argument) for argument in argv])
    except (flags.Error, UserError) as error:
        # absl puts a prefix before an error of the config
        cause = error.__context__ if isinstance(error.__context__, UserError) else error
        _fail(flag_words.plain(cause))
    except (KeyError, AttributeError, TypeError, IndexError) as error:
        line = '\n'.join(argv)
        file = ''.join(re.findall(r'^--?config[=\n](.*)', line, re.MULTILINE)[-1:])
        _refuse_unknown(file, re.findall(_CHANGE, line, re.MULTILINE))
        _fail(f'--config={file}: {type(error).__name__}: {error}')
    if rest[1:]:
        _fail(f'{rest[1]!r} is not a flag; write --name=value')
    for name in required:
        if values[name].value is None:
            _fail(f'--{name} is required: {values[name].help}; --help lists all flags')
    if values['verbosity'].using_default_value:
        # absl's default is INFO, at which libraries log much
        values.verbosity = logging.WARNING
    return rest


def _undecodable(text):
    """Whether the text had bytes that are not UTF-8 on the command line."""
    return any('\ud800' <= letter <= '\udfff' for letter in text)


def _refuse_unknown(file, changes):
    """Ends with an error at the first changed setting that the config lacks."""
    config = flags.FLAGS['config'].parser.parse(file)
    for path in changes:
        section = config
        for name in path.split('.'):
            if not isinstance(section, ConfigDict):
                _fail(f'--config.{path} is unknown: a value has no settings below it')
            if name not in section:
                where = path.split('.')[: path.split('.').index(name)]
                near = meant_setting(name, section, '.'.join(where))
                names = '' if near else choose(section)
                _fail(f'--config.{path} is unknown{near}{names}')
            section = section[name]


def _list_flags():
    """Lets `--help` list every flag of this package, whichever module defines it."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith('perl.'):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _quiet_libraries():
    """Suppresses the messages of tasks that a failed save leaves behind: its error is
    already printed as one line."""
    asyncio.log.logger.setLevel('CRITICAL')
    original = sys.unraisablehook

    def hook(event):
        if 'Event loop is closed' not in str(event.exc_value):
            original(event)

    sys.unraisablehook = hook


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """A context that ends the process with one line where a command is stopped or a
    user can mend what is wrong."""
    try:
        yield
    except Stopped as stop:
        print(f'{stop}; the same command continues from there', file=sys.stderr)
        leaving.done()
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        print(
            'stopped; the same command continues from its last save, or begins again '
            'where it saves none',
            file=sys.stderr,
        )
        sys.exit(STOPPED)
    except (UserError, SafetensorError) as error:
        _fail(error)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (MemoryError, JaxRuntimeError) as error:
        if not (line := exhausted.advice(error)):
            raise
        _fail(line)
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        what = f'{where}{error.strerror or error}; {disk.mend(error)}'
        _fail(f'{what}: what was saved before is intact')


def _fail(error):
    text = ' '.join(str(error).split()) or type(error).__name__
    leaving.failed(text)
    print(f'error: {text}', file=sys.stderr)
    sys.exit(1)
