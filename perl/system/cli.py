"""How every command starts and ends: flags, one-line errors, exit codes."""

import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from ml_collections import ConfigDict
from safetensors import SafetensorError

from perl.system import disk
from perl.system.errors import UserError
from perl.system.interrupt import Stopped
from perl.system.suggest import near_miss

STOPPED = 130  # as a shell reports a program that Ctrl-C ended
_CHANGE = r'^--?(?:no)?config\.([^=\n]+)'


def run(main: Callable[[Sequence[str]], None], required: Sequence[str] = ()) -> None:
    """Parses flags and calls `main`; what a person has to mend becomes one line."""
    flags.mark_flags_as_required(list(required))
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)


def _parse(argv):
    values = flags.FLAGS
    try:
        rest = values(argv)
    except (flags.Error, UserError) as error:
        # ml_collections puts a traceback before what the config file raised
        _fail(str(error).rpartition(f'{UserError.__qualname__}: ')[2])
    except Exception as error:  # a config file may raise anything
        line = '\n'.join(argv)
        file = ''.join(re.findall(r'^--?config[=\n](.*)', line, re.MULTILINE)[-1:])
        if isinstance(error, KeyError | AttributeError):
            _refuse_unknown(file, re.findall(_CHANGE, line, re.MULTILINE))
        _fail(f'--config={file}: {type(error).__name__}: {error}')
    if rest[1:]:
        _fail(f'{rest[1]!r} is no flag; write --name=value')
    if values['verbosity'].using_default_value:
        # absl would choose INFO, where libraries tell of their inner life
        values.verbosity = logging.WARNING
    return rest


def _refuse_unknown(file, changes):
    """Ends with an error at the first change of what the config does not have."""
    try:
        config = flags.FLAGS['config'].parser.parse(file)
    except (KeyError, AttributeError):  # of the file itself
        return
    for path in changes:
        section = config
        for name in path.split('.'):
            if not isinstance(section, ConfigDict):
                _fail(f'--config.{path} is unknown: there is nothing below a value')
            if name not in section:
                _fail(f'--config.{path} is unknown{near_miss(name, section)}')
            section = section[name]


def _guarded(main, argv):
    try:
        main(argv)
    except Stopped as stop:
        print(f'{stop}; the same command goes on from there', file=sys.stderr)
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        print('stopped; the same command goes on from the last save', file=sys.stderr)
        sys.exit(STOPPED)
    except (UserError, SafetensorError) as error:
        _fail(error)
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        what = f'{where}{error.strerror or error}; {disk.mend(error)}'
        _fail(f'{what}: what was saved before is intact')


def _fail(error):
    text = ' '.join(str(error).split()) or type(error).__name__
    print(f'error: {text}', file=sys.stderr)
    sys.exit(1)
