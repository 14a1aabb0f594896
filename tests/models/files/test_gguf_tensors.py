"""Every packing, beside the package `gguf`."""

import gguf
import gguf_files
import ml_dtypes
import numpy as np
import pytest

from perl.models.files import gguf_header, gguf_tensors
from perl.system.errors import UserError

WRITTEN = ('Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1')
BLOCKS = ('Q4_K', 'Q5_K', 'Q6_K')


def read(file, name='x'):
    stored = gguf_header.read_header(file).tensors[name]
    return gguf_tensors.tensor_of(file, name, stored)


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)


def test_these_are_all():
    assert {*WRITTEN, *BLOCKS} == {*gguf_tensors.PACKED}


@pytest.mark.parametrize('kind', [*WRITTEN, *BLOCKS])
def test_what_is_packed(tmp_path, array, kind):
    rng = np.random.default_rng(1)
    packed = (
        gguf_files.packed(array, kind)
        if kind in WRITTEN
        else gguf_files.random_blocks(rng, array.shape, kind)
    )
    file = gguf_files.write(tmp_path / 'x.gguf', tensors={'x': packed})
    tensor = read(file)
    assert (tensor.shape, tensor.dtype) == (array.shape, np.float32)
    want = gguf.quants.dequantize(*packed)
    assert want.std() > 0
    np.testing.assert_array_equal(tensor.read(), want)
    if kind in WRITTEN:  # and that is near what was packed: a step of 4 bits is 1/8
        assert np.abs(tensor.read() - array).max() < np.abs(array).max() / 7


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
def test_what_is_not_packed(tmp_path, array, dtype):
    array = array.astype(dtype)
    given = array
    if dtype == ml_dtypes.bfloat16:
        given = (array.view(np.uint8), gguf_files.KINDS.BF16)
    file = gguf_files.write(tmp_path / 'x.gguf', tensors={'x': given})
    tensor = read(file)
    assert (tensor.shape, tensor.dtype) == (array.shape, dtype)
    np.testing.assert_array_equal(tensor.read(), array)


def test_another_packing(tmp_path, array):
    raw = np.zeros(
        (6, 512 // 256 * gguf.GGML_QUANT_SIZES[gguf_files.KINDS.Q2_K][1]), np.uint8
    )
    file = gguf_files.write(
        tmp_path / 'x.gguf', tensors={'x': (raw, gguf_files.KINDS.Q2_K)}
    )
    with pytest.raises(UserError, match=r'x is packed as Q2_K, .*one of F32, F16'):
        read(file)


def test_a_file_that_is_cut_off_after_it_was_opened(tmp_path, array):
    file = gguf_files.write(tmp_path / 'x.gguf', tensors={'x': array})
    tensor = read(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r'x\.gguf ends within x'):
        tensor.read()


def test_numbers_that_are_not_finite(tmp_path, array):
    array[2, 3] = np.nan
    file = gguf_files.write(tmp_path / 'x.gguf', tensors={'x': array})
    with pytest.raises(UserError, match='x: 1 of 3072 numbers are NaN'):
        read(file).read()
