"""A checkpoint of a foreign model: its config, and tensors that are read when asked."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor whose numbers stay where they are until somebody reads them.

    Attributes:
        shape: as the file has it.
        dtype: of numpy, or of `ml_dtypes` for bfloat16.
        load: makes the array, anew at each call.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> 'Tensor':
        """A tensor of any shape whose numbers are in memory."""
        return cls(tuple(array.shape), np.dtype(array.dtype), lambda: array)

    def read(self) -> np.ndarray:
        """The numbers `[*shape]`; nothing keeps them for a second call.

        Raises:
            UserError: the file cannot be read, or holds what is not a finite number.
        """
        return self.load()

    def astype(self, dtype: np.dtype) -> 'Tensor':
        """The tensor, of any shape, in another dtype once it is read."""
        return Tensor(self.shape, dtype, lambda: self.load().astype(dtype))

    @property
    def nbytes(self) -> int:
        """The bytes that `read` gives."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A model as Hugging Face has it for its family, whatever file it comes from.

    Attributes:
        config: the content of `config.json`, with `model_type`.
        tensors: by the names of Hugging Face; projections are `[outputs, inputs]`.
        generation: the content of `generation_config.json`; empty where there is none.
        where: the folder or file, for messages.
    """

    config: dict[str, Any]
    tensors: Mapping[str, Tensor]
    generation: dict[str, Any] = dataclasses.field(default_factory=dict)
    where: str = 'the checkpoint'
