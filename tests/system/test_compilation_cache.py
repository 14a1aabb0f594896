"""Where compiled programs are kept, and who decides it."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from perl.system import compilation_cache

SETTINGS = 'jax_compilation_cache_dir', 'jax_compilation_cache_max_size'


@pytest.fixture
def settings():
    """The settings of JAX, which are put back afterwards."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    jax.config.update('jax_compilation_cache_dir', None)
    yield lambda: tuple(getattr(jax.config, name) for name in SETTINGS)
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize('given', ['/somewhere', ''])
def test_the_environment_decides(given, settings, monkeypatch, tmp_path):
    monkeypatch.setenv(compilation_cache.NAME, given)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    before = settings()
    compilation_cache.turn_on()
    assert settings() == before and not list(tmp_path.iterdir())


def test_programs_are_kept_by_processor(settings, monkeypatch, tmp_path):
    monkeypatch.delenv(compilation_cache.NAME)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compilation_cache.turn_on()
    folder, most = settings()
    assert pathlib.Path(folder).parent == tmp_path / 'perl' / 'compiled'
    assert pathlib.Path(folder).is_dir() and most == 4 * 2**30
    monkeypatch.setattr(compilation_cache, '_processor', lambda: 'another')
    compilation_cache.turn_on()
    assert settings()[0] == str(tmp_path / 'perl' / 'compiled' / 'another')


def test_a_home_that_cannot_be_written_is_no_error(settings, monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.delenv(compilation_cache.NAME)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    before = settings()
    compilation_cache.turn_on()
    assert settings() == before
    assert jnp.ones(2).sum() == 2


def test_a_user_without_a_home_is_no_error(settings, monkeypatch):
    def homeless():
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.delenv(compilation_cache.NAME)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr(pathlib.Path, 'home', homeless)
    before = settings()
    compilation_cache.turn_on()
    assert settings() == before
