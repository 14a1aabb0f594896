"""Files of safetensors: what is read is what was written, what is damaged is said."""

import errno
import os

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from perl.models.files import tensor_files
from perl.system.errors import UserError

ARRAYS = {
    'a': np.arange(6, dtype=np.float32).reshape(2, 3),
    'b': np.linspace(-3, 3, 8).astype(np.float16),
    'c': np.linspace(-3, 3, 8).astype(ml_dtypes.bfloat16).reshape(2, 2, 2),
    'scalar': np.full((), 2.5, np.float32),
    'empty': np.zeros((0, 3), np.float32),
}


@pytest.fixture
def file(tmp_path):
    save_file(ARRAYS, tmp_path / 'x.safetensors')
    return tmp_path / 'x.safetensors'


def test_tensors_come_back(file):
    found = tensor_files.tensors_in(file)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == found[name].read().dtype == array.dtype
        np.testing.assert_array_equal(found[name].read(), array)


@pytest.mark.parametrize('left', [0, 5, 100, -1])
def test_a_truncated_file(file, left):
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UserError, match=r'x\.safetensors is damaged .*copy it again'):
        tensor_files.tensors_in(file)


def test_a_file_that_was_removed_after_it_was_opened(file):
    found = tensor_files.tensors_in(file)
    file.unlink()
    with pytest.raises(UserError, match=r'x\.safetensors is not there'):
        found['a'].read()


def test_what_cannot_be_read_is_not_called_damaged(file):
    said = tensor_files.damaged(file, OSError(errno.EIO, os.strerror(errno.EIO)))
    assert 'cannot be read: Input/output error' in str(said)


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(file, dtype, bad):
    array = np.zeros((3, 5), dtype)
    array[1, 2] = bad
    save_file({'x': array}, file)
    tensor = tensor_files.tensors_in(file)['x']
    with pytest.raises(UserError, match=r'x\.safetensors: x: 1 of 15 numbers are NaN'):
        tensor.read()


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
def test_the_largest_numbers_are_finite(dtype):
    most = ml_dtypes.finfo(dtype).max
    tensor_files.check_finite(np.array([most, -most, 0, -0.0], dtype), 'here')


def test_integers_are_no_weights(file):
    save_file({'x': np.arange(3)}, file)
    with pytest.raises(UserError, match='x has the dtype int64; write the checkpoint'):
        tensor_files.tensors_in(file)['x'].read()
