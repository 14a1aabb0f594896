"""Tensors that are read when asked."""

import ml_dtypes
import numpy as np

from perl.models.files import Checkpoint, Tensor


def test_a_tensor_of_an_array_is_that_array():
    array = np.ones((2, 3), ml_dtypes.bfloat16)
    tensor = Tensor.of(array)
    assert (tensor.shape, tensor.dtype, tensor.nbytes) == ((2, 3), array.dtype, 12)
    assert tensor.read() is array


def test_nothing_is_read_before_it_is_asked_for():
    reads = []

    def load():
        reads.append(1)
        return np.zeros(4, np.float32)

    tensor = Tensor((4,), np.dtype(np.float32), load)
    checkpoint = Checkpoint({'model_type': 'llama'}, {'x': tensor})
    assert checkpoint.tensors['x'].nbytes == 16
    assert reads == []
    tensor.read()
    tensor.read()
    assert reads == [1, 1]


def test_a_scalar_has_the_bytes_of_one_number():
    assert Tensor.of(np.zeros((), np.float16)).nbytes == 2
