"""Maps foreign tensors to our parameters, and converts each into the other."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from perl.weights import Leaf

LAYER = '{}'  # stands for the number of the layer in a foreign name


@dataclasses.dataclass(frozen=True)
class Name:
    """One foreign tensor, or one of each layer, and the parameters that it holds.

    Attributes:
        foreign: its name; `{}` is the number of the layer.
        paths: of our parameters, several where the foreign tensor joins their outputs.
        layout: of a kernel: `out_in` (a Linear of torch: outputs first), `in_out` (a
            Conv1D of GPT-2) or `same` (as we have it). A bias, norm or table that
            stands alone is reshaped only.
        joined: `rows` (outputs one after the other) or `heads` (of each head in turn).
    """

    foreign: str
    paths: tuple[str, ...]
    layout: str = 'out_in'
    joined: str = 'rows'

    @property
    def layered(self) -> bool:
        """Whether there is one tensor for each layer."""
        return LAYER in self.foreign

    def shape(self, leaves: Sequence[Leaf]) -> tuple[int, ...]:
        """The shape of the foreign tensor, of one layer.

        Args:
            leaves: what the paths declare.
        """
        first = leaves[0]
        if self.layout == 'same':
            return first.shape[first.layered :]
        outputs = sum(_sizes(leaf)[1] for leaf in leaves)
        if not first.inputs:
            return (outputs,)
        inputs = _sizes(first)[0]
        return (inputs, outputs) if self.layout == 'in_out' else (outputs, inputs)

    def ours(self, tensor: np.ndarray, leaves: Sequence[Leaf]) -> list[np.ndarray]:
        """Our parameters of one layer, each of the shape that its leaf declares, of
        a foreign tensor of `shape(leaves)`."""
        if self.layout == 'same':
            return [tensor]
        matrix = tensor.T if self.layout == 'in_out' else tensor  # outputs first
        sizes = [_sizes(leaf)[1] for leaf in leaves]
        if self.joined == 'heads':
            heads = leaves[0].shape[-2]
            of_heads = matrix.reshape(heads, len(leaves), -1, *matrix.shape[1:])
            parts = [of_heads[:, i] for i in range(len(leaves))]
        else:
            parts = np.split(matrix, np.cumsum(sizes)[:-1])
        return [
            part.reshape(size, *matrix.shape[1:]).T.reshape(_shape(leaf))
            for part, size, leaf in zip(parts, sizes, leaves, strict=True)
        ]

    def theirs(
        self, arrays: Sequence[np.ndarray], leaves: Sequence[Leaf]
    ) -> np.ndarray:
        """The foreign tensor of `shape(leaves)`, of our parameters of one layer, which
        have the shapes that their leaves declare."""
        if self.layout == 'same':
            return arrays[0]
        parts = []
        for array, leaf in zip(arrays, leaves, strict=True):
            inputs, outputs = _sizes(leaf)
            flat = array.reshape(inputs, outputs) if leaf.inputs else array.ravel()
            parts.append(flat.T)
        if self.joined == 'heads':
            heads, rest = leaves[0].shape[-2], parts[0].shape[1:]
            parts = [part.reshape(heads, -1, *rest) for part in parts]
            matrix = np.stack(parts, axis=1).reshape(-1, *rest)
        else:
            matrix = np.concatenate(parts)
        return np.ascontiguousarray(matrix.T if self.layout == 'in_out' else matrix)


def in_layers(prefix: str, *names: Name) -> tuple[Name, ...]:
    """Names inside a layer as whole names: foreign ones begin with a prefix that ends
    with the number of the layer, ours with `layers/`."""
    return tuple(
        dataclasses.replace(
            name,
            foreign=f'{prefix}{name.foreign}',
            paths=tuple(f'layers/{path}' for path in name.paths),
        )
        for name in names
    )


def _shape(leaf):
    return leaf.shape[leaf.layered :]


def _sizes(leaf):
    """How many inputs and outputs a parameter has; all of a bias are outputs."""
    shape = _shape(leaf)
    return math.prod(shape[: leaf.inputs]), math.prod(shape[leaf.inputs :])
