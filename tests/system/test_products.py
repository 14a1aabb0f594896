"""The probe of matrix products measures something, once for a kind of processor."""

import pytest

from perl.system import compilation_cache, products


def test_the_gain_is_measured_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    gain = products.gain_of_bfloat16()
    assert 0.01 < gain < 1000
    monkeypatch.setattr(products, '_measured', lambda: pytest.fail('measured again'))
    assert products.gain_of_bfloat16() == gain
    monkeypatch.setattr(compilation_cache, '_processor', lambda: 'another')
    monkeypatch.setattr(products, '_measured', lambda: 7.0)
    assert products.gain_of_bfloat16() == 7


def test_without_a_cache_folder_it_is_measured(monkeypatch):
    monkeypatch.setattr(compilation_cache, 'own_folder', lambda name: None)
    monkeypatch.setattr(products, '_measured', lambda: 3.0)
    assert products.gain_of_bfloat16() == 3
