"""Writes a checkpoint as a folder that transformers loads."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from perl.models.files.checkpoint import Tensor
from perl.models.files.folder import CONFIG, GENERATION, INDEX, SINGLE
from perl.system import arrays, atomic, disk, jsonl
from perl.system.errors import UserError

SHARD_BYTES = 5 * 10**9  # what transformers writes into one file at most by default
_NAMES = {
    np.dtype(np.float32): 'float32',
    np.dtype(np.float16): 'float16',
    np.dtype(ml_dtypes.bfloat16): 'bfloat16',
}


def write_checkpoint(
    folder: str | pathlib.Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    generation: Mapping[str, Any] | None = None,
    beside: Mapping[str, bytes] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a folder of safetensors, with `config.json` last: a folder that has it is
    whole.

    The tensors of one shard are in memory at a time.

    Args:
        folder: made where it is not there. Weights of an earlier checkpoint in it are
            replaced.
        config: for `config.json`; `dtype` is set to that of the tensors.
        tensors: by the names of Hugging Face, float32, float16 or bfloat16.
        generation: for `generation_config.json`; None writes none.
        beside: other files, such as those of the tokenizer, by name.
        shard_bytes: of one file at most, where a single tensor is not larger.

    Raises:
        UserError: there is no tensor, a tensor has another dtype, or the disk refuses.
    """
    folder = pathlib.Path(folder)
    _check(tensors)
    shards = list(_shards(tensors, shard_bytes))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        for old in [folder / INDEX, *folder.glob('model*.safetensors')]:
            old.unlink(missing_ok=True)
        _write_shards(folder, tensors, shards)
        for name, content in (beside or {}).items():
            atomic.write_bytes(folder / name, content)
        if generation is not None:
            jsonl.save(folder / GENERATION, generation)
        # transformers reads either name; versions before 5 know `torch_dtype` alone
        dtype = _dtype(tensors)
        rest = {k: v for k, v in config.items() if k not in ('dtype', 'torch_dtype')}
        jsonl.save(folder / CONFIG, {**rest, 'torch_dtype': dtype})
    except OSError as error:
        raise disk.user_error(f'{folder} could not be written', error) from None


def _check(tensors):
    if not tensors:
        raise UserError('the checkpoint has no tensor; give at least one')
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise UserError(
                f'{name} has the dtype {tensor.dtype}, which is not one of '
                f'{", ".join(_NAMES.values())}; convert it'
            )


def _dtype(tensors):
    """The dtype with the most bytes, which is that of the matrices."""
    sizes = dict.fromkeys(_NAMES, 0)
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.nbytes
    return _NAMES[max(sizes, key=sizes.get)]


def _shards(tensors: Mapping[str, Tensor], limit: int) -> Iterator[list[str]]:
    """Names of tensors, in their order, that fill a file each."""
    names, size = [], 0
    for name, tensor in tensors.items():
        if names and size + tensor.nbytes > limit:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor.nbytes
    yield names


def _write_shards(folder, tensors, shards):
    file_of = {}
    for number, names in enumerate(shards, 1):
        file = SINGLE
        if len(shards) > 1:
            file = f'model-{number:05d}-of-{len(shards):05d}.safetensors'
        shard = {name: tensors[name].read() for name in names}
        # transformers refuses a file that does not say this
        arrays.save(folder / file, shard, {'format': 'pt'})
        file_of |= dict.fromkeys(names, file)
    if len(shards) > 1:
        size = sum(tensor.nbytes for tensor in tensors.values())
        index = {'metadata': {'total_size': size}, 'weight_map': file_of}
        text = json.dumps(index, indent=2, sort_keys=True) + '\n'
        atomic.write_text(folder / INDEX, text)
