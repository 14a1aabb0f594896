"""Data: records, tokenizers, readers, batches."""

import importlib
import inspect

from perl.data import tokenizers
from perl.data.batching import (
    bucket,
    collate,
    left,
    order,
    pack,
)
from perl.data.examples import Examples, encode
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    pairs,
    split_of,
)
from perl.system.errors import UserError
from perl.system.suggest import near_miss

__all__ = [
    'SPLITS',
    'Comparison',
    'Dataset',
    'Demonstration',
    'Examples',
    'Rating',
    'bucket',
    'collate',
    'encode',
    'left',
    'load',
    'order',
    'pack',
    'pairs',
    'split_of',
    'tokenizers',
]

# A name in configs, and the module and function that read it.
_LOADERS = {
    'reservations': ('desk.reader', 'load'),
    'tldr': ('tldr', 'load'),
    'bolt': ('bolt', 'load'),
    'harmlessness': ('hh', 'load_harmlessness'),
    'helpfulness': ('hh', 'load_helpfulness'),
    'shp': ('shp', 'load'),
    'android_control': ('screens.android_control', 'load'),
    'refexp': ('screens.refexp', 'load'),
    'taskmaster_coffee': ('taskmaster.reader', 'load_coffee'),
    'taskmaster_ticketing': ('taskmaster.reader', 'load_ticketing'),
    'files': ('own_files', 'load'),
}


def load(name: str, **options) -> Dataset:
    """The data set of a name, read with the options of its loader.

    Raises:
        UserError: an unknown name or option, with the near miss, a missing option, or
            what the loader finds wrong in its files.
    """
    if name not in _LOADERS:
        raise UserError(f'no data set {name!r}{near_miss(name, _LOADERS)}')
    module, function = _LOADERS[name]
    loader = getattr(importlib.import_module(f'perl.data.sets.{module}'), function)
    known = inspect.signature(loader).parameters
    for option in options:
        if option not in known:
            raise UserError(
                f'data set {name!r} has no option {option!r}{near_miss(option, known)}'
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise UserError(f'data set {name!r} needs the option {option!r}')
    return loader(**options)
