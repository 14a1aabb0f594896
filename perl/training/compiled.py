"""A jitted function that knows how much memory its programs need."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Program(NamedTuple):
    """A program before compilation.

    Attributes:
        lowered: as `jax.stages.Lowered`.
        cache: bytes on a device of the keys and values that it makes and reads.
    """

    lowered: Any
    cache: int = 0


class Compiled:
    """Compiles once per shape, ahead of time, and remembers the largest program.

    Attributes:
        peak_bytes: arguments, outputs and temporaries of the largest program on one
            device, by the compiler's own account.
    """

    def __init__(self, function: Callable, **jit_options: Any):
        self._jitted = jax.jit(function, **jit_options)
        self._programs = {}
        self.peak_bytes = 0

    def __call__(self, *args: Any) -> Any:
        key = _signature(args)
        if key not in self._programs:
            program = self.lower(*args).compile()
            self.peak_bytes = max(self.peak_bytes, program_bytes(program))
            self._programs[key] = program
        return self._programs[key](*args)

    def lower(self, *args: Any) -> Any:
        """The program before compilation; arguments may be abstract."""
        return self._jitted.lower(*args)


def program_bytes(program: Any) -> int:
    """Peak bytes on one device of a compiled program."""
    memory = program.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def _signature(args):
    leaves, structure = jax.tree.flatten(args)
    return structure, tuple((x.shape, str(x.dtype)) for x in leaves)
