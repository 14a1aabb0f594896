"""Suggests the closest known name for a misspelled one."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from perl.system.errors import UserError

# what people write for a name of ours that is too different to be found as similar
_SHORT = {'lr': 'learning_rate'}


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` if a known name is similar, else ''."""
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f'; did you mean {near[0]!r}?' if near else ''


def misspelled(name: str, known: Iterable[str]) -> str:
    """The known name that a name is a misspelling of; '' if there is none, or if it is
    a variant of one, such as `reward_full`, `my_reward` or `reward2` of `reward`."""
    stem = name.rstrip('0123456789')
    known = [x for x in known if x.rstrip('0123456789') != stem]
    known = [x for x in known if not {*x.split('_')} & {*stem.split('_')}]
    mixed = [x for x in known if sorted(x) == sorted(name)]
    return (mixed or difflib.get_close_matches(name, known, 1, 0.75) or [''])[0]


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of an error: `; did you mean 'x'? Choose one of x, y`, or without a
    similar name `; choose one of x, y`."""
    known = list(known)
    near = meant(name, known)
    end = choose(known)
    return f'{near} {end[2:3].upper()}{end[3:]}' if near else end


def choose(known: Iterable[str]) -> str:
    """`; choose one of x, y`: the end of an error that lists the known names."""
    known = list(known)
    if not known:
        return '; there is none to choose from'
    return f'; choose {"one of " if len(known) > 1 else ""}{listed(known)}'


def meant_setting(name: str, section: Mapping[str, Any], where: str = '') -> str:
    """As `meant`, for a setting: also one that is not in the section itself but in a
    section within it, such as `sft.optimizer.learning_rate` for `learning_rate`.

    Args:
        name: the setting that there is not.
        section: the names that there are, with their values.
        where: the path of the section.
    """
    name = _SHORT.get(name, str(name))
    inner = {
        x: list(map(str, part)) for x, part in section.items() if hasattr(part, 'keys')
    }
    within = [f'{x}.{field}' for x, names in inner.items() for field in names]
    same = [path for path in within if path.endswith(f'.{name}')]
    if not same and (here := meant(name, map(str, section))):
        return here
    paths = {path.partition('.')[2]: path for path in reversed(within)}
    near = difflib.get_close_matches(name, paths, 1)
    same = same or [paths[x] for x in near]
    path = '.'.join(filter(None, [where, *same[:1]]))
    return f'; did you mean {path!r}?' if same else ''


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names with commas between them; of many the first, and how many there are."""
    names = list(names)
    more = f' and {len(names) - most} others' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def one_of(where: str, value: str, *known: str) -> None:
    """Raises a `UserError` unless the value is one of the known values.

    Args:
        where: the setting, such as `sft.start`.
        value: its value.
        *known: the allowed values.
    """
    if value not in known:
        raise UserError(
            f'{where}: {value!r} is not one of {", ".join(known)}{meant(value, known)}'
        )
