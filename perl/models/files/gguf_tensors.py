"""Tensors of a GGUF file, unpacked when they are read."""

import functools
import pathlib

import ml_dtypes
import numpy as np

from perl.models.files.checkpoint import Tensor
from perl.models.files.gguf_header import Stored, package
from perl.models.files.tensor_files import check_finite, damaged
from perl.system.errors import UserError

_PLAIN = {'F32': np.float32, 'F16': np.float16, 'BF16': ml_dtypes.bfloat16}
PACKED = ('Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q4_K', 'Q5_K', 'Q6_K')


def tensor_of(file: pathlib.Path, name: str, stored: Stored) -> Tensor:
    """A tensor of a file; what is packed is float32 when it is read.

    Raises:
        UserError: it is packed in another way than those of `PACKED`.
    """
    if stored.kind not in (*_PLAIN, *PACKED):
        raise UserError(
            f'model.path: {file}: {name} is packed as {stored.kind}, which is not one '
            f'of {", ".join((*_PLAIN, *PACKED))}; convert the model to one of them'
        )
    load = functools.partial(_read, file, name, stored)
    return Tensor(stored.shape, np.dtype(_PLAIN.get(stored.kind, np.float32)), load)


def _read(file, name, stored):
    try:
        raw = np.fromfile(file, np.uint8, stored.nbytes, offset=stored.offset)
    except OSError as error:
        raise damaged(file, error) from None
    if raw.size < stored.nbytes:
        raise UserError(f'model.path: {file} ends within {name}; copy it again')
    if stored.kind in _PLAIN:
        array = raw.view(_PLAIN[stored.kind])
    else:
        gguf = package()
        kind = gguf.GGMLQuantizationType[stored.kind]
        block, nbytes = gguf.GGML_QUANT_SIZES[kind]
        rows = raw.reshape(-1, stored.shape[-1] // block * nbytes)
        array = gguf.quants.dequantize(rows, kind)
    array = array.reshape(stored.shape)
    check_finite(array, f'{file}: {name}')
    return array
