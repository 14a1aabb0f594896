"""Full tuning: every parameter is trained."""

import dataclasses
from typing import Any, ClassVar

import jax

from perl.adapters.tunings.base import Tuning, parameter_count, trained_copy


@dataclasses.dataclass(frozen=True)
class Full(Tuning):
    """Every parameter is trained, from a float32 copy of the base."""

    name: str = 'full'
    replaces_base: ClassVar[bool] = True

    def declare(self, leaves: Any) -> Any:
        """The model's own tree."""
        return leaves

    def init(self, key: jax.Array, base: Any, leaves: Any) -> Any:
        """A float32 copy of the base, of the shapes that the model declares."""
        del key, leaves
        return trained_copy(base)

    def coverage(self, leaves: Any) -> str:
        """One line for a person."""
        return f'full: all {parameter_count(leaves):,} parameters'
