"""The hub: asked for by name only, and its cache on the disk."""

import foreign
import huggingface_hub
import numpy as np
import pytest

from perl.models.files import hub, is_foreign, open_checkpoint
from perl.system.errors import UserError

NAME = 'models--someone--tiny'


@pytest.fixture
def cache(tmp_path):
    """A model's folder in the cache, with its main version and another."""
    folder = tmp_path / NAME
    for seed, revision in enumerate(('aaa', 'bbb')):
        foreign.write(folder / 'snapshots' / revision, foreign.arrays(seed=seed))
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text('bbb')
    return folder


def norm(checkpoint):
    return checkpoint.tensors['model.norm.weight'].read()


def test_the_main_version_of_the_cache(cache):
    assert is_foreign(cache)
    want = foreign.arrays(seed=1)['model.norm.weight']
    np.testing.assert_array_equal(norm(open_checkpoint(cache)), want)


def test_a_version_by_its_folder(cache):
    want = foreign.arrays(seed=0)['model.norm.weight']
    found = open_checkpoint(cache / 'snapshots' / 'aaa')
    np.testing.assert_array_equal(norm(found), want)


def test_several_versions_and_no_main_one(cache):
    (cache / 'refs' / 'main').unlink()
    with pytest.raises(UserError, match='has 2 snapshots and none is the main one'):
        open_checkpoint(cache)


@pytest.mark.parametrize('end', ['', '@main', '@refs/pr/1'])
def test_what_is_fetched(cache, monkeypatch, end):
    asked = []
    hub.fetch.cache_clear()

    def download(name, **options):
        asked.append((name, options))
        return str(cache / 'snapshots' / 'aaa')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
    assert is_foreign(f'hub:someone/tiny{end}')
    for _ in range(2):
        assert open_checkpoint(f'hub:someone/tiny{end}').config == foreign.CONFIG
    [(name, options)] = asked
    assert (name, options['revision']) == ('someone/tiny', end[1:] or None)
    patterns = ' '.join(options['allow_patterns'])
    assert 'model*.safetensors' in patterns
    assert not any(x in patterns for x in ('.bin', '.pt', '.pth', '.pkl', '.py'))


@pytest.mark.parametrize('address', ['hub:', 'hub:tiny', 'hub:a/b/c', 'hub:a/b@'])
def test_an_address_that_is_none(address, monkeypatch):
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', None)
    with pytest.raises(
        UserError, match='is not an address of the hub; write hub:org/name'
    ):
        open_checkpoint(address)


def test_offline_only_the_cache_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(
        UserError, match=r'hub:someone/none could not be fetched \('
    ) as e:
        hub.fetch('hub:someone/none')
    assert '\n' not in str(e.value)
