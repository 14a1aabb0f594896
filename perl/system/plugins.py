"""Imports a user's code that a config names as `module:name`.

A dataset, a tuning, a reward or a model family that is not part of this package is
given as `module:name`. The module is imported as `python -c 'import module'` would do
in the working directory.
"""

import importlib
import os
import pathlib
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from perl.system.errors import UserError
from perl.system.suggest import meant

# what a user's code may raise: `sys.exit` in it must not end a command in silence
FAILURES = (Exception, SystemExit)


def place(error: BaseException) -> str:
    """`my_rewards.py, line 4`: where the user's code raised an error; '' if it did not.

    That is the innermost frame that is neither of this package nor of a library.
    """
    ours = pathlib.Path(__file__).resolve().parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = pathlib.Path(frame.filename).resolve()
        library = {'site-packages', 'dist-packages'} & {*file.parts}
        standard = file.is_relative_to(pathlib.Path(os.__file__).parent)
        if file.is_file() and not (library or standard or file.is_relative_to(ours)):
            return f'{file.name}, line {frame.lineno}'
    return ''


def find(name: str, what: str) -> Any:
    """The object that `module:name` names.

    Args:
        name: `module:name`; the module may be dotted.
        what: purpose of the object, such as `reward`, for errors.

    Raises:
        UserError: the module or name does not exist, or the import fails.
    """
    module_name, _, attribute = name.partition(':')
    if not (module_name and attribute):
        raise UserError(f'{what}: {name!r} does not have the form module:name')
    if not all(part.isidentifier() for part in module_name.split('.')):
        raise UserError(
            f'{what}: {module_name!r} is not the name of a module; for a file '
            f'my_code.py of the working directory write my_code:{attribute}'
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if module_name.endswith('.py'):
            raise UserError(
                f'{what}: {name}: write the name of the module, without .py: '
                f'{module_name.removesuffix(".py")}:{attribute}'
            ) from None
        raise UserError(
            f'{what}: {name}: there is no module {error.name}; run from the folder '
            'that holds it, or install it'
        ) from None
    except FAILURES as error:
        raise UserError(
            f'{what}: {name}: importing {module_name} failed with '
            f'{type(error).__name__}: {error}'
        ) from error
    if not hasattr(module, attribute):
        public = [x for x in vars(module) if not x.startswith('_')]
        raise UserError(
            f'{what}: {module_name} has no {attribute}{meant(attribute, public)}'
        )
    return getattr(module, attribute)


def row(name: str, table: Mapping[str, Any], what: str, yours: str) -> Any:
    """The entry of a name in a table, or the object that `module:name` names.

    Args:
        name: of an entry, or `module:name`.
        table: entries by name.
        what: the setting that the name is of, for errors.
        yours: how an object of your own is given, such as `module:class for a tuning`.

    Raises:
        UserError: there is no such entry; or as `find`.
    """
    if name in table:
        return table[name]
    if ':' not in name:
        raise UserError(
            f'{what}: {name!r} is not one of {", ".join(table)}{meant(name, table)}; '
            f'write {yours} of your own'
        )
    return find(name, what)
