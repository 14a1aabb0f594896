"""What is written is read, whole or not at all."""

import errno
import json
import os

import foreign
import ml_dtypes
import numpy as np
import pytest

from perl.models.files import Tensor, open_checkpoint, write_checkpoint
from perl.system import arrays as array_files
from perl.system.errors import UserError


@pytest.mark.parametrize('shard_bytes', [10**9, 4000, 1])
@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_checkpoint_comes_back(tmp_path, shard_bytes, dtype):
    arrays = foreign.arrays(dtype=dtype)
    given = {'config': foreign.CONFIG, 'tensors': foreign.tensors(arrays)}
    write_checkpoint(tmp_path, **given, shard_bytes=shard_bytes)
    found = open_checkpoint(tmp_path)
    assert found.config == {**foreign.CONFIG, 'torch_dtype': np.dtype(dtype).name}
    assert found.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(found.tensors[name].read(), array)
    files = sorted(x.name for x in tmp_path.iterdir())
    limited = [x for x in files if x.endswith('.safetensors')]
    assert len(limited) == {10**9: 1, 1: len(arrays)}.get(shard_bytes, len(limited))
    assert ('model.safetensors' in files) == (shard_bytes == 10**9)


def test_no_file_is_larger_than_asked(tmp_path):
    write_checkpoint(tmp_path, {}, foreign.tensors(), shard_bytes=4000)
    index = json.loads((tmp_path / 'model.safetensors.index.json').read_text())
    sizes = {}
    for name, file in index['weight_map'].items():
        sizes[file] = sizes.get(file, 0) + foreign.tensors()[name].nbytes
    assert max(sizes.values()) <= 4000
    assert sum(sizes.values()) == index['metadata']['total_size']


def test_arrays_that_lie_otherwise_in_memory(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_checkpoint(tmp_path, {'model_type': 'x'}, {'x': Tensor.of(array)})
    np.testing.assert_array_equal(open_checkpoint(tmp_path).tensors['x'].read(), array)


def test_other_files_go_with_it(tmp_path):
    write_checkpoint(
        tmp_path,
        foreign.CONFIG,
        foreign.tensors(),
        generation={'eos_token_id': 2},
        beside={'tokenizer.json': b'{}'},
    )
    assert (tmp_path / 'tokenizer.json').read_bytes() == b'{}'
    assert open_checkpoint(tmp_path).generation == {'eos_token_id': 2}


def test_weights_of_an_earlier_checkpoint_are_replaced(tmp_path):
    write_checkpoint(tmp_path, foreign.CONFIG, foreign.tensors(), shard_bytes=4000)
    values = foreign.arrays(seed=1)
    write_checkpoint(tmp_path, foreign.CONFIG, foreign.tensors(values))
    assert sorted(x.name for x in tmp_path.iterdir()) == [
        'config.json',
        'model.safetensors',
    ]
    found = open_checkpoint(tmp_path).tensors['model.norm.weight'].read()
    np.testing.assert_array_equal(found, values['model.norm.weight'])


def test_a_folder_that_was_not_finished_has_no_config(tmp_path):
    write_checkpoint(tmp_path, foreign.CONFIG, foreign.tensors())

    def fail():
        raise UserError('stopped')

    broken = Tensor((1,), np.dtype(np.float32), fail)
    with pytest.raises(UserError, match='stopped'):
        write_checkpoint(tmp_path, foreign.CONFIG, {'x': broken})
    with pytest.raises(UserError, match=r'has no config\.json'):
        open_checkpoint(tmp_path)


def test_a_full_disk(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_files, 'save_file', refuse)
    said = 'could not be written: No space left on device; free some space'
    with pytest.raises(UserError, match=said):
        write_checkpoint(tmp_path, foreign.CONFIG, foreign.tensors())


def test_a_tensor_of_another_dtype(tmp_path):
    with pytest.raises(UserError, match='x has the dtype int64, which is not one of'):
        write_checkpoint(tmp_path, {}, {'x': Tensor.of(np.arange(3))})


def test_nothing_to_write(tmp_path):
    with pytest.raises(UserError, match='has no tensor'):
        write_checkpoint(tmp_path, {}, {})
