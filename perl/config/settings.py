"""A config that answers a misspelled name in one line, also in a notebook."""

import json
from typing import Any

from ml_collections import ConfigDict

from perl.system import schema
from perl.system.errors import UserError
from perl.system.suggest import choose, meant_setting


class Settings(ConfigDict):
    """A `ConfigDict` that refuses an unknown name in one line while it is locked.

    The error of `ConfigDict` itself is a page with every setting of the section.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        if not self.is_locked or key in self.keys() or '.' in str(key):
            # a section keeps its type, so one from elsewhere becomes one of these
            other = isinstance(value, ConfigDict) and not isinstance(value, Settings)
            self._set(key, _converted(value, {}) if other else value)
            return
        near = meant_setting(str(key), self) or choose(self)
        add = '; to add a section, call unlock() first'
        raise UserError(
            f'{key} is unknown in this section of the config{near}'
            f'{add if schema.is_section(value) else ""}'
        )

    def _set(self, key, value):
        known = self.get(key) if self.is_locked and '.' not in str(key) else None
        # a bool would become a number
        number = isinstance(known, int | float) and not isinstance(known, bool)
        if number and isinstance(value, bool):
            raise _of_another_type(key, value, known)
        try:
            super().__setitem__(key, value)
        except TypeError:
            if known is None:
                raise
            raise _of_another_type(key, value, known) from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfigDict) or self.is_locked != other.is_locked:
            return False
        return dict(self.items()) == dict(other.items())

    __hash__ = None


def _of_another_type(key, value, known):
    # made only where it is raised: the text of a whole section takes milliseconds
    return UserError(
        f'{key}: {value!r} is a {type(value).__name__}, and the setting is a '
        f'{type(known).__name__}; write one'
    )


def locked(config: ConfigDict) -> Settings:
    """The same settings, locked; sections and references that are shared stay so."""
    return _converted(config, {}).lock()


def _converted(section: ConfigDict, done: dict[int, Settings]) -> Settings:
    if id(section) not in done:
        made = done[id(section)] = Settings(
            type_safe=section.is_type_safe,
            allow_dotted_keys=section.allow_dotted_keys,
        )
        values = dict(section.items(preserve_field_references=True))
        # in the order in which they were set, which a config has in its JSON alone
        order = list(json.loads(section.to_json_best_effort()))
        for name in sorted(values, key=lambda name: order.index(str(name))):
            value, is_section = values[name], isinstance(values[name], ConfigDict)
            made[name] = _converted(value, done) if is_section else value
    return done[id(section)]
