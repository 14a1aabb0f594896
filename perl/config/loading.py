"""Loads the config of an experiment from a program or from a run's `config.json`."""

import importlib.util
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from perl.config.settings import locked
from perl.system import jsonl, plugins
from perl.system.errors import UserError, within

_UNKNOWN = re.compile(
    r'\W*Key "(.+?)" does not exist and cannot be added.*?'
    r'(?:\\n|\n)?(?:Did you mean "(.+?)" instead of|$)',
    re.DOTALL,
)
_OF_ANOTHER_TYPE = re.compile(
    r"Could not override field '(.+?)'.*?\. (.*) is of original type <class '(\w+)'> "
    r"and cannot be casted to type <class '(?:.*\.)?(\w+)'>",
    re.DOTALL,
)


def load_config(path: str) -> ConfigDict:
    """The config of `file.py[:arguments]` or of a `config.json`, locked.

    A `.py` file is a program, which this runs; a `.json` file is data.

    Raises:
        UserError: there is no such file, it fails, or it gives no config.
    """
    file, colon, arg = str(path).partition(':')
    if not pathlib.Path(file).is_file():
        raise UserError(f'--config: {file} is not a file; see the files in configs/')
    if pathlib.Path(file).suffix == '.json':
        if colon:
            raise UserError(f'--config: {file} takes no arguments after a colon')
        return _of_run(pathlib.Path(file))
    if pathlib.Path(file).suffix != '.py':
        raise UserError(f'--config: {file} is neither a .py nor a .json file')
    try:
        config = _get_config(file, arg or None)
    except UserError:
        raise
    except plugins.FAILURES as error:
        where = plugins.place(error) or pathlib.Path(file).name
        raise UserError(f'--config: {where}: {_words(error)}') from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f'--config: get_config of {file} returned {config!r:.60}, not a '
            'ConfigDict; return the config'
        )
    return locked(config)


def from_json(values: Mapping[str, Any]) -> ConfigDict:
    """A config from the JSON values of a run's `config.json`, locked; `rules.validate`
    says whether it is a whole one.

    Raises:
        UserError: a name cannot be one of a config.
    """
    try:
        return locked(ConfigDict(_with_tuples(values)))
    except ValueError as error:  # such as a name with a dot
        raise UserError(f'config: {error}') from None


def _of_run(file):
    """The config that a run has left in a file."""
    values = jsonl.load(file)
    with within(f'--config: {file}'):
        config = from_json(values)
    for name in ('data', 'stages'):
        if name not in config:
            raise UserError(
                f'--config: {file} has no {name}, so it is not a config; give the '
                'config.json of a run, or a file as in configs/'
            )
    return config


def _get_config(file, arg):
    spec = importlib.util.spec_from_file_location('perl_config', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, 'get_config'):
        raise UserError(f'--config: {file} has no get_config(arg=None); see configs/')
    return module.get_config(arg)


def _words(error):
    """What an error of a config file says, without ml_collections' own words."""
    if found := _OF_ANOTHER_TYPE.match(str(error)):
        field, value, given, wanted = found.groups()
        such = f", such as ('{value}',)" if wanted == 'tuple' else ''
        return f'{field} is {value!r} of the type {given}, not a {wanted}{such}'
    if found := _UNKNOWN.match(str(error)):
        name, near = found.groups()
        return f'{name} is unknown' + (f'; did you mean {near!r}?' if near else '')
    text = str(error).strip('"') if isinstance(error, KeyError) else error
    return f'{type(error).__name__}: {text}'


def _with_tuples(value):
    """Lists as tuples, as a config has them: only those can be changed by a flag."""
    if isinstance(value, dict):
        return {name: _with_tuples(x) for name, x in value.items()}
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    return value
