"""A checkpoint that keeps account of what is read from it."""

import dataclasses
import functools
import hashlib
import json

import numpy as np

from perl.models.files.checkpoint import Checkpoint, Tensor

# keys of a config that say nothing of what the model computes
_NOTES = ('_name_or_path', 'architectures', 'dtype', 'torch_dtype')
_NOTES += ('transformers_version', 'use_cache')


class Recorder:
    """Digests of the tensors of a checkpoint, taken when they are read.

    So the fingerprint of a base costs no second pass over its files.
    """

    def __init__(self, checkpoint: Checkpoint):
        self._digests: dict[str, str] = {}
        tensors = {
            name: dataclasses.replace(
                tensor, load=functools.partial(self._read, name, tensor)
            )
            for name, tensor in checkpoint.tensors.items()
        }
        self.checkpoint = dataclasses.replace(checkpoint, tensors=tensors)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the config and of all tensors that were read."""
        said = {k: v for k, v in self.checkpoint.config.items() if k not in _NOTES}
        parts = [json.dumps(said, sort_keys=True), *sorted(self._digests.items())]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _read(self, name: str, tensor: Tensor) -> np.ndarray:
        array = np.asarray(tensor.read(), order='C')
        digest = hashlib.sha256(f'{array.dtype} {array.shape}'.encode())
        digest.update(array.reshape(-1).view(np.uint8))
        self._digests[name] = digest.hexdigest()
        return array
