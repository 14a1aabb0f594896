"""Folders of Hugging Face: one file or shards, and what is wrong with them."""

import json

import foreign
import numpy as np
import pytest

from perl.models.files import folder, write_checkpoint
from perl.system.errors import UserError


@pytest.fixture
def single(tmp_path):
    return foreign.write(tmp_path / 'single')


@pytest.fixture
def sharded(tmp_path):
    place = tmp_path / 'sharded'
    write_checkpoint(place, foreign.CONFIG, foreign.tensors(), shard_bytes=4000)
    assert len(list(place.glob('model-*.safetensors'))) > 2
    return place


def same(checkpoint, arrays):
    assert checkpoint.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(checkpoint.tensors[name].read(), array)


def test_one_file(single):
    checkpoint = folder.read_folder(single)
    assert checkpoint.config == foreign.CONFIG
    assert (checkpoint.generation, checkpoint.where) == ({}, str(single))
    same(checkpoint, foreign.arrays())


def test_shards(sharded):
    (sharded / 'generation_config.json').write_text('{"eos_token_id": [2, 3]}')
    checkpoint = folder.read_folder(sharded)
    assert checkpoint.generation == {'eos_token_id': [2, 3]}
    same(checkpoint, foreign.arrays())


def test_one_file_is_taken_where_both_are_there(sharded):
    values = foreign.arrays(seed=1)
    foreign.write(sharded, values)
    same(folder.read_folder(sharded), values)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, r'has no config\.json; give the folder of a model'),
        ('{', r'config\.json is not a JSON object'),
        ('[1]', r'config\.json is not a JSON object'),
        ('{}', r'config\.json names no model_type'),
        ('{"model_type": 3}', r'config\.json names no model_type'),
        (
            '{"stages": []}',
            'is the folder of a run, which has no base of its own',
        ),
    ],
)
def test_a_config_that_is_none(single, content, said):
    (single / 'config.json').unlink()
    if content is not None:
        (single / 'config.json').write_text(content)
    with pytest.raises(UserError, match=said):
        folder.read_folder(single)


def test_a_missing_shard(sharded):
    gone = sorted(sharded.glob('model-*.safetensors'))[1]
    gone.unlink()
    with pytest.raises(UserError, match=f'lacks the shard {gone.name}, which'):
        folder.read_folder(sharded)


def test_a_truncated_shard(sharded):
    shard = sorted(sharded.glob('model-*.safetensors'))[1]
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match=f'{shard.name} is damaged'):
        folder.read_folder(sharded)


def change_index(place, change):
    index = json.loads((place / 'model.safetensors.index.json').read_text())
    index['weight_map'] = change(index['weight_map'])
    (place / 'model.safetensors.index.json').write_text(json.dumps(index))


def test_an_index_that_says_more_than_a_shard_has(sharded):
    change_index(sharded, lambda names: names | {'extra': names['model.norm.weight']})
    with pytest.raises(UserError, match=r'lacks extra, .* says otherwise'):
        folder.read_folder(sharded)


def test_an_index_that_says_less_than_a_shard_has(sharded):
    def less(names):
        return {k: v for k, v in names.items() if k != 'model.norm.weight'}

    change_index(sharded, less)
    with pytest.raises(UserError, match=r'has model\.norm\.weight, .* says otherwise'):
        folder.read_folder(sharded)


@pytest.mark.parametrize(
    'names', [None, [], {'x': 3}, {'x': '../x.safetensors'}, {'x': '/x.safetensors'}]
)
def test_an_index_without_a_map(sharded, names):
    change_index(sharded, lambda _: names)
    with pytest.raises(UserError, match=r'index\.json has no weight_map'):
        folder.read_folder(sharded)


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.pt', 'model.pth'])
def test_a_pickle_is_refused_and_not_opened(single, name):
    (single / 'model.safetensors').unlink()
    (single / name).mkdir()  # whoever opens it fails otherwise
    with pytest.raises(UserError, match=rf'{name} is a pickle; .*never opened: conv'):
        folder.read_folder(single)


def test_no_weights_at_all(single):
    (single / 'model.safetensors').unlink()
    with pytest.raises(UserError, match='has neither model'):
        folder.read_folder(single)
