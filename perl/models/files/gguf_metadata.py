"""The settings of a model in the metadata of a GGUF file, each used or refused."""

import pathlib
from typing import Any

import numpy as np

from perl.models.files.gguf_header import Header
from perl.system.errors import UserError

# what changes nothing at these values; None is any value
_HARMLESS = {
    'vocab_size': None,
    'rope.scaling.finetuned': None,
    'tensor_data_layout': None,
    'attention.causal': True,
    'expert_count': 0,
    'expert_used_count': 0,
    'use_parallel_residual': False,
    'rope.scaling.attn_factor': 1.0,
}


class Metadata:
    """Values of one architecture, each marked as used when it is asked for."""

    def __init__(self, file: pathlib.Path, header: Header, arch: str):
        self._file, self._arch = file, arch
        self._values = {
            key.removeprefix(f'{arch}.'): value
            for key, value in header.metadata.items()
            if key.startswith(f'{arch}.')
        }
        self._used: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; one number where every layer has the same."""
        self._used.add(key)
        value = self._values.get(key, default)
        if isinstance(value, list) and len({*value}) == 1:
            value = value[0]
        if isinstance(value, list) or value != value:
            raise self.error(key, 'a value of each layer is not supported')
        if isinstance(value, float):
            value = float(str(np.float32(value)))  # 1e-5, which float32 has not exactly
        return value

    def layers(self, key: str) -> list[Any] | None:
        """The values of a key that has one for each layer, as they are."""
        self._used.add(key)
        return self._values.get(key)

    def need(self, key: str) -> Any:
        """The value of a key that must be there, a number above 0."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self.error(key, 'a number above 0 was expected')
        return value

    def check_used(self) -> None:
        """Raises a `UserError` for the first key that was not read."""
        for key, value in self._values.items():
            if key in self._used:
                continue
            if key not in _HARMLESS or _HARMLESS[key] not in (None, value):
                raise self.error(key, 'it is not handled')

    def error(self, key: str, why: str) -> UserError:
        """The error of a key."""
        value = self._values.get(key, 'missing')
        return UserError(
            f'model.path: {self._file}: {self._arch}.{key} is {value!r:.60}: {why}; '
            'give the model as a folder of Hugging Face'
        )
