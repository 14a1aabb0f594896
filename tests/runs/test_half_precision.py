"""`model.dtype='auto'`: what it becomes on which machine, and that a run keeps it."""

import json

import pytest

from perl import config as configs
from perl.runs import half_precision
from perl.system import products


def config_with(**model):
    config = configs.experiment('x')
    config.model.update(model)
    return config.lock()


@pytest.mark.parametrize(
    ('platform', 'gain', 'dtype', 'precision'),
    [
        ('cpu', 4.0, 'float32', 'bfloat16'),
        ('cpu', 1.2, 'float32', 'highest'),
        ('gpu', 1.0, 'bfloat16', 'highest'),
        ('tpu', 1.0, 'bfloat16', 'highest'),
    ],
)
def test_auto_is_what_the_machine_computes_fastest(
    platform, gain, dtype, precision, monkeypatch, capsys
):
    monkeypatch.setattr(products, 'gain_of_bfloat16', lambda: gain)
    asked = config_with(dtype='auto')
    model = half_precision.resolve(asked, platform=platform).model
    assert (model.dtype, model.precision) == (dtype, precision)
    assert asked.model.dtype == 'auto'
    said = f'model.dtype=auto: dtype={dtype}, precision={precision}\n'
    assert capsys.readouterr().out == said


def begun(folder, **model):
    """A run folder in which a stage has left something."""
    (folder / 'sft').mkdir()
    (folder / 'sft' / 'metrics.jsonl').write_text('{}')
    saved = json.dumps(configs.to_json(config_with(**model)))
    (folder / 'config.json').write_text(saved)


def test_a_run_keeps_what_it_began_with(tmp_path, monkeypatch):
    begun(tmp_path, dtype='float32', precision='bfloat16')
    monkeypatch.setattr(products, 'gain_of_bfloat16', lambda: 1.0)
    model = half_precision.resolve(config_with(dtype='auto'), tmp_path).model
    assert (model.dtype, model.precision) == ('float32', 'bfloat16')


def test_a_folder_in_which_nothing_has_begun_decides_nothing(tmp_path, monkeypatch):
    saved = json.dumps(configs.to_json(config_with(dtype='bfloat16')))
    (tmp_path / 'config.json').write_text(saved)
    monkeypatch.setattr(products, 'gain_of_bfloat16', lambda: 1.0)
    asked = config_with(dtype='auto')
    model = half_precision.resolve(asked, tmp_path, platform='cpu').model
    assert (model.dtype, model.precision) == ('float32', 'highest')


def test_a_precision_that_was_asked_for_stays(tmp_path, monkeypatch):
    """So that a folder with another one is an error of `saved_config`."""
    monkeypatch.setattr(products, 'gain_of_bfloat16', lambda: 4.0)
    asked = config_with(dtype='auto', precision='default')
    model = half_precision.resolve(asked, platform='cpu').model
    assert (model.dtype, model.precision) == ('float32', 'default')
    begun(tmp_path, dtype='float32', precision='bfloat16')
    assert half_precision.resolve(asked, tmp_path).model.precision == 'default'


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_a_dtype_that_is_named_stays(dtype, tmp_path):
    config = config_with(dtype=dtype)
    assert half_precision.resolve(config, tmp_path) is config
