"""Modules of transformers that can have factors, and the kernels that they hold."""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np

from perl.models.architecture import Architecture
from perl.models.families import Family, to_config
from perl.models.families.names import Name
from perl.models.families.table import FAMILIES
from perl.models.families.tensors import declared, foreign_names, names_of
from perl.system.errors import UserError
from perl.weights import Leaf

_TURNED = tuple(
    f'layers/attention/{x}{y}' for x in 'qk' for y in ('', '_bias', '_norm')
)


@dataclasses.dataclass(frozen=True)
class Module:
    """A parameter of a model of transformers, or one of each layer.

    Attributes:
        names: of the tensors, one for each layer, as the model in memory has them.
        name: how they hold our parameters.
        leaves: our parameters, as they are declared.
    """

    names: tuple[str, ...]
    name: Name
    leaves: tuple[Leaf, ...]

    @property
    def is_kernel(self) -> bool:
        """Whether it can have factors."""
        return self.leaves[0].inputs > 0 and self.names[0].endswith('.weight')

    @property
    def is_table(self) -> bool:
        """Whether it is an embedding, whose factors have names of their own."""
        return self.name.layout == 'same'

    def thin(self, rank: int) -> list[Leaf]:
        """The second factor of each kernel as a declared kernel `[R, *outputs]`."""
        return [
            Leaf((rank, *x.shape[x.layered + x.inputs :]), (None,) * 9, 1, None)
            for x in self.leaves
        ]

    def outer(self) -> list[Leaf]:
        """The magnitudes of each kernel as a declared bias `[*outputs]`."""
        return [
            Leaf(x.shape[x.layered + x.inputs :], (None,) * 9, 0, None)
            for x in self.leaves
        ]

    def split(self, tensor: np.ndarray, leaves: Sequence[Leaf]) -> list[np.ndarray]:
        """A tensor `[outputs, R]` or `[outputs]` as one of each kernel, in the shapes
        of `leaves`."""
        return self._linear.ours(tensor, leaves)

    def join(self, arrays: Sequence[np.ndarray], leaves: Sequence[Leaf]) -> np.ndarray:
        """The inverse of `split`: `[outputs, R]` or `[outputs]`."""
        return self._linear.theirs(arrays, leaves)

    @property
    def _linear(self):
        """The name with the layout of factors, whatever that of the kernel is."""
        return dataclasses.replace(self.name, layout='out_in')


def families_of(arch: Architecture) -> list[Family]:
    """The families of transformers that describe a decoder; several may.

    Raises:
        UserError: none does.
    """
    halves, found = dataclasses.replace(arch, rope_layout='halves'), []
    first = to_config(halves)['model_type']
    for family in FAMILIES.values():
        with contextlib.suppress(UserError):
            to_config(halves, family)
            found.append(family)
    return sorted(found, key=lambda family: family.model_type != first)


def modules(family: Family, arch: Architecture, scores: bool) -> list[Module]:
    """All parameters of a model of transformers.

    Args:
        family: of the model.
        arch: the decoder.
        scores: whether it is a classifier, which has no unembedding.
    """
    leaves = declared(arch, scores)
    if scores:
        leaves.pop('unembed', None)
    in_memory = {file: name for name, file in family.renamed.items()}
    return [
        Module(
            tuple(in_memory.get(x, x) for x in foreign_names(name, arch.layers)),
            name,
            tuple(leaves[path] for path in name.paths),
        )
        for name in names_of(family, leaves)
    ]


def tails(found: Sequence[Module]) -> dict[str, str]:
    """The shortest end of the name of each kernel's module that no other kind of module
    ends with."""
    kernels = [x for x in found if x.is_kernel]
    result = {}
    for module in kernels:
        parts = module.names[-1].removesuffix('.weight').split('.')
        ends = ['.'.join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [x.names[-1].removesuffix('.weight') for x in kernels if x != module]
        end = next(
            e for e in ends if not any(f'.{o}'.endswith(f'.{e}') for o in others)
        )
        result |= {name.removesuffix('.weight'): end for name in module.names}
    return result


def turned(arch: Architecture, path: str, array: np.ndarray, back: bool) -> np.ndarray:
    """An array `[..., N]` of the outputs of a kernel, or of what is added to them, with
    the components of a head in the order of transformers, or back in that of the
    decoder."""
    if arch.rope_layout != 'pairs' or path not in _TURNED:
        return array
    order = np.arange(arch.head_width)
    halves = order[: arch.turned].reshape(-1, 2).T.ravel()
    order = np.concatenate([halves, order[arch.turned :]])
    return np.take(array, np.argsort(order) if back else order, axis=-1)
