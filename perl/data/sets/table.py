"""The table of dataset readers, and loading a dataset by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from perl.data.records import Dataset
from perl.data.sets import bolt, hh, returned, shp, tldr
from perl.data.sets.desk import annotators as desk_annotators
from perl.data.sets.desk import reader as desk
from perl.data.sets.desk.annotators import Pool
from perl.data.sets.own_files import reader as own_files
from perl.data.sets.screens import android_control, refexp
from perl.data.sets.taskmaster import reader as taskmaster
from perl.system import plugins, schema
from perl.system.errors import UserError
from perl.system.suggest import near_miss

READERS: dict[str, Callable[..., Dataset]] = {
    'reservations': desk.load,
    'tldr': tldr.load,
    'bolt': bolt.load,
    'harmlessness': hh.load_harmlessness,
    'helpfulness': hh.load_helpfulness,
    'shp': shp.load,
    'android_control': android_control.load,
    'refexp': refexp.load,
    'taskmaster_coffee': taskmaster.load_coffee,
    'taskmaster_ticketing': taskmaster.load_ticketing,
    'files': own_files.load,
}
# the simulated annotators of a dataset that has some: (flip, seed) -> them
ANNOTATORS: dict[str, Callable[[float, int], Pool]] = {
    'reservations': desk_annotators.of_desk,
}


def load(name: str, **options: Any) -> Dataset:
    """Reads the dataset with a name.

    Args:
        name: one of `READERS`, or `module:function` of your code.
        **options: the arguments of the reader.

    Raises:
        UserError: the name or an option is unknown (the message suggests a similar
            one), an option is missing, or the reader finds an error in its files.
    """
    if ':' in name:
        reader = plugins.find(name, 'data.name')
        _check_options(name, reader, options)
        return _call(name, reader, options)
    if name not in READERS:
        raise UserError(
            f'data.name: no dataset is called {name!r}{near_miss(name, READERS)}; '
            'name your code module:function'
        )
    _check_options(name, READERS[name], options)
    _check_types(READERS[name], options)
    return READERS[name](**options)


def _check_options(name: str, reader: Any, options: Mapping[str, Any]) -> None:
    if not callable(reader):
        raise UserError(
            f'data.name: {name} is not a function but of the type '
            f'{type(reader).__name__}; name a function that returns a Dataset'
        )
    parameters = inspect.signature(reader).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    for option in options:
        if option not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise UserError(
                f'dataset {name!r} has no option {option!r}'
                f'{near_miss(option, parameters)}'
            )
    for option, parameter in parameters.items():
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if named and parameter.default is parameter.empty and option not in options:
            raise UserError(f'dataset {name!r} needs the option {option!r}')


def _check_types(reader: Callable[..., Dataset], options: Mapping[str, Any]) -> None:
    """Checks that options have the types of their defaults; text without a default."""
    parameters = inspect.signature(reader).parameters
    for option, value in options.items():
        default = parameters[option].default
        required = default is inspect.Parameter.empty
        schema.check_type(f'data.{option}', value, '' if required else default)


def _call(name: str, reader: Callable[..., Any], options: Mapping[str, Any]) -> Dataset:
    """The dataset of a user's reader; an error that it raises becomes one line."""
    try:
        dataset = reader(**options)
    except UserError:
        raise
    except plugins.FAILURES as error:
        place = plugins.place(error)
        where = f' ({place})' if place else ''
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise UserError(
            f'data.name: {name} failed with {reason:.200}{where}'
        ) from error
    if not isinstance(dataset, Dataset):
        raise UserError(
            f'data.name: {name} returned a {type(dataset).__name__}; it must return a '
            'perl.data.Dataset'
        )
    returned.check(f'data.name: {name}', dataset)
    return dataset


def annotators(name: str, flip: float, seed: int) -> Pool:
    """The simulated annotators of a dataset.

    Args:
        name: of the dataset. One that has no annotators gets those of the booking
            desk, who refuse texts that are not requests to it.
        flip: how often one of them errs.
        seed: of their labels.
    """
    return ANNOTATORS.get(name, desk_annotators.of_desk)(flip, seed)
