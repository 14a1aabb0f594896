"""A family of decoders: what all of its models have in common."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from perl.models.architecture import Architecture
from perl.models.families.config import Config
from perl.models.families.names import Name
from perl.system.errors import UserError
from perl.system.suggest import near_miss


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of decoders over the one decoder of this package.

    An entry of your own needs the first two fields only. The others say how checkpoints
    of other projects are read and written.

    Attributes:
        name: for a person.
        fields: fields of `Architecture` that every model of the family shares, such as
            biases or the epsilon of a norm; sizes come from the config.
        model_type: of a foreign `config.json`.
        classes: of transformers: the language model, and the classifier.
        read: fields of `Architecture`, beside the shared ones, of a foreign config.
        write: the keys of a foreign config that `read` asks for.
        names: of foreign tensors; those whose parameters a model has not are left out.
        renamed: other names that tensors have in some files, and those in `names`.
        prefix: of the names of all tensors but the heads, which a file without heads
            may leave out.
        ignored: keys of a foreign config that say nothing about the numbers.
        buffers: regular expression of foreign tensors that are not weights.
    """

    name: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model_type: str = ''
    classes: tuple[str, str] = ('', '')
    read: Callable[[Config], dict[str, Any]] | None = None
    write: Callable[[Architecture], dict[str, Any]] | None = None
    names: tuple[Name, ...] = ()
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefix: str = 'model.'
    ignored: tuple[str, ...] = ()
    buffers: str = r'.*\.rotary_emb\.inv_freq'

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
