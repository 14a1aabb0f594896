"""Arrays come back as they were, in whatever order they lie in memory."""

import errno
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perl.system import arrays

ROWS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ORDERS = {
    'fortran': np.asfortranarray(ROWS),
    'transposed': ROWS.T,
    'stacked': np.stack([x.T for x in ROWS]),
    'swapped': np.swapaxes(ROWS, 0, 2),
    'strided': ROWS[:, ::2, 1:],
    'reversed': ROWS[::-1],
    'broadcast': np.broadcast_to(ROWS[0, 0], (5, 4)),
    'big endian': ROWS.astype('>f4').T,
    'scalar': np.float32(3),
    'empty': ROWS[:, :0].T,
    'bfloat16': np.asarray(jnp.asarray(ROWS, jnp.bfloat16)).T,
    'jax': jnp.asarray(ROWS).T,
}


@pytest.mark.parametrize('order', ORDERS)
def test_every_order_of_memory_comes_back(tmp_path, order):
    array = ORDERS[order]
    given = {'x': array}
    arrays.save(tmp_path / 'x', given)
    assert given['x'] is array
    back = arrays.load(tmp_path / 'x')['x']
    assert isinstance(back, jax.Array) and back.shape == array.shape
    np.testing.assert_array_equal(np.asarray(back), np.asarray(array))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float8_e4m3fn', 'uint8'])
def test_parts_of_an_array_make_the_whole(tmp_path, dtype):
    x = ROWS.astype(jnp.dtype(dtype))
    arrays.save(tmp_path / 'x', {'before': ROWS[:, 0], 'x': x, 'y': ROWS})
    whole = arrays.read(tmp_path / 'x', 'x')
    assert arrays.aligned(whole, x.dtype) is whole
    np.testing.assert_array_equal(whole, x)
    for row in range(len(x)):
        found = arrays.read(tmp_path / 'x', 'x', row)
        assert arrays.aligned(found, x.dtype) is found
        np.testing.assert_array_equal(found, x[row])


def test_shapes_without_reading(tmp_path):
    arrays.save(tmp_path / 'x', {'x': ROWS, 'scalar': np.float16(2)})
    found = arrays.shapes(tmp_path / 'x')
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        'x': (ROWS.shape, ROWS.dtype),
        'scalar': ((), np.float16),
    }


@pytest.fixture
def saved(tmp_path):
    arrays.save(tmp_path / 'x', {'a': ROWS, 'b': ROWS[0]})
    return tmp_path / 'x'


def test_the_digest_is_checked(saved):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert arrays.digest(saved) == digest
    assert arrays.load(saved, digest).keys() == {'a', 'b'}
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    assert arrays.load(saved).keys() == {'a', 'b'}
    with pytest.raises(ValueError, match='the sha256 of x is not the one'):
        arrays.load(saved, digest)


@pytest.mark.parametrize('keep', [0, 5, 100, -1])
def test_a_cut_file_is_damaged(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r'[Hh]eader|[Bb]uffer|[Ff]ile'):
        arrays.load(saved)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(tmp_path, bad):
    x = ROWS.copy()
    x[0, 0, :2] = bad
    arrays.save(tmp_path / 'x', {'fine': ROWS, 'bad': x})
    with pytest.raises(ValueError, match='2 of 24 numbers in bad are NaN or infinite'):
        arrays.load(tmp_path / 'x')


def test_a_file_that_was_cut_since_its_shapes_were_read(saved):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(ValueError, match='x ends within b'):
        arrays.read(saved, 'b')


def test_numbers_of_an_unknown_kind(tmp_path):
    said = {'x': {'dtype': 'F8_E8M0', 'shape': [3], 'data_offsets': [0, 3]}}
    header = json.dumps(said).encode()
    (tmp_path / 'x').write_bytes(len(header).to_bytes(8, 'little') + header + b'abc')
    with pytest.raises(ValueError, match='unknown kind'):
        arrays.load(tmp_path / 'x')


def test_what_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        arrays.load(tmp_path / 'nowhere')
    with pytest.raises(IsADirectoryError):
        arrays.load(tmp_path)

    def broken(file, kind):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(arrays.hashlib, 'file_digest', broken)
    arrays.save(tmp_path / 'x', {'x': ROWS})
    with pytest.raises(OSError, match='Input/output error'):
        arrays.load(tmp_path / 'x')


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        arrays.save(tmp_path / 'no' / 'x', {'x': ROWS})
    assert raised.value.filename == str(tmp_path / 'no' / 'x')


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16'])
@pytest.mark.parametrize('shape', [(), (0, 3), (7,), (64, 33)])
def test_memory_that_jax_uses_as_it_is(shape, dtype):
    x = arrays.aligned_empty(shape, jnp.dtype(dtype))
    x[...] = 3
    assert (x.shape, x.dtype) == (shape, dtype)
    placed = jax.device_put(x)
    np.testing.assert_array_equal(placed, x)
    if x.size:
        assert placed.unsafe_buffer_pointer() == x.ctypes.data
        assert arrays.aligned(x, x.dtype) is x


@pytest.mark.parametrize('lying', [lambda x: x[1:], lambda x: x.T, lambda x: x[:, ::2]])
def test_other_memory_is_copied_there(lying):
    x = lying(np.arange(99, dtype=np.float32).reshape(9, 11))
    for dtype in ('float32', 'float16'):
        moved = arrays.aligned(x, jnp.dtype(dtype))
        np.testing.assert_array_equal(moved, x.astype(dtype))
        assert jax.device_put(moved).unsafe_buffer_pointer() == moved.ctypes.data


@pytest.mark.parametrize('dtype', ['float64', 'float32', 'float16', 'bfloat16'])
def test_what_is_not_finite_is_counted_in_every_part(monkeypatch, dtype):
    monkeypatch.setattr(arrays, '_PART', 4)
    most = float(jnp.finfo(dtype).max)
    x = np.array([most, -most, 0, -0.0, 1e-7] * 2, jnp.dtype(dtype)).reshape(5, 2)
    assert arrays.not_finite(x) == 0
    x[0, 1], x[3, 0], x[4, 1] = np.nan, np.inf, -np.inf
    assert arrays.not_finite(x) == arrays.not_finite(x.T) == 3
    assert arrays.not_finite(x[:, 0]) == 1


def test_integers_are_finite():
    assert arrays.not_finite(np.arange(5)) == arrays.not_finite(np.array(True)) == 0
