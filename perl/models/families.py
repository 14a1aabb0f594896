"""Families of decoders, one row each: what all models of a family have in common."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.models.architecture import Architecture
from perl.system import plugins
from perl.system.errors import UserError
from perl.system.suggest import near_miss


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of decoders over the one `Decoder` of this package.

    Attributes:
        name: for a person.
        fields: fields of `Architecture` that every model of the family shares, such as
            biases or the epsilon of a norm; sizes come from the config.
    """

    name: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def architecture(self, **sizes: Any) -> Architecture:
        """The decoder of this family with these sizes.

        Raises:
            UserError: a size does not fit the others, or the family has a field that
                no architecture has.
        """
        known = {field.name for field in dataclasses.fields(Architecture)}
        for name in self.fields:
            if name not in known:
                raise UserError(
                    f'model.family: {self.name} sets {name!r}, which no architecture '
                    f'has{near_miss(name, sorted(known - sizes.keys()))}'
                )
        return Architecture(**{**self.fields, **sizes})


FAMILIES: dict[str, Family] = {
    # RMSNorm, rotary positions, grouped queries, SwiGLU (arXiv 2302.13971, 2307.09288)
    'llama': Family('llama'),
}


def family_named(name: str) -> Family:
    """The row of a name in `FAMILIES`, or of `module:name` of your own.

    Raises:
        UserError: there is no such family.
    """
    family = plugins.row(name, FAMILIES, 'model.family', 'module:name for a family')
    if not isinstance(family, Family):
        raise UserError(f'model.family: {name} is not a perl.models.families.Family')
    return family
