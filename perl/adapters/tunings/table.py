"""The tunings by name, one entry each."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.adapters.tunings.base import Tuning
from perl.adapters.tunings.bitfit import BitFit
from perl.adapters.tunings.bottlenecks import Houlsby, Pfeiffer
from perl.adapters.tunings.dora import DoraTuning
from perl.adapters.tunings.full import Full
from perl.adapters.tunings.lora import LoraTuning
from perl.adapters.tunings.pissa import PissaTuning
from perl.adapters.tunings.prefix import PrefixTuning
from perl.adapters.tunings.qalora import QaLora
from perl.adapters.tunings.qlora import QLora
from perl.adapters.tunings.top_layers import TopLayers
from perl.system import plugins, schema
from perl.system.errors import UserError
from perl.system.suggest import meant

TUNINGS: dict[str, type[Tuning]] = {
    kind.name: kind
    for kind in (
        *(Full, LoraTuning, DoraTuning, PissaTuning, QLora, QaLora),
        *(BitFit, Houlsby, Pfeiffer, PrefixTuning, TopLayers),
    )
}


def kind_named(name: str) -> type[Tuning]:
    """The class of a tuning: a name in `TUNINGS`, or `module:class` of your own.

    Raises:
        UserError: there is no such tuning.
    """
    kind = plugins.row(name, TUNINGS, 'tuning.name', 'module:class for a tuning')
    if not (isinstance(kind, type) and issubclass(kind, Tuning)):
        raise UserError(
            f'tuning.name: {name} is not a subclass of perl.adapters.tunings.Tuning'
        )
    return kind


def create(settings: Mapping[str, Any]) -> Tuning:
    """The tuning of a config section or of a card: its name, and its fields.

    A section has the fields of every built-in tuning, so that a command can change the
    name alone; those that belong to another tuning are left out. Empty targets are
    those that the tuning has by itself.

    Raises:
        UserError: there is no such tuning, no tuning has such a field, or a field is of
            another type than its default.
    """
    schema.check_type('tuning.name', settings['name'], '')
    kind = kind_named(settings['name'])
    known = _fields(kind)
    anywhere = known.union(*map(_fields, TUNINGS.values()))
    for name in settings:
        if name not in anywhere:
            raise UserError(f'tuning.{name} is unknown{meant(name, anywhere)}')
    for field in dataclasses.fields(kind):
        if field.name in settings and field.default is not dataclasses.MISSING:
            schema.check_type(
                f'tuning.{field.name}', settings[field.name], field.default
            )
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
            if name in known and not (name == 'targets' and not value)
        }
    )


def _fields(kind):
    return {field.name for field in dataclasses.fields(kind)}
