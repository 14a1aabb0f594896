"""Configs from programs, and from the `config.json` of a run."""

import json
import re

import pytest
from commands import command, launch
from runs import config

from perl import config as configs
from perl.config import rules
from perl.system.errors import UserError


@pytest.fixture
def saved(tmp_path):
    file = tmp_path / 'config.json'
    file.write_text(json.dumps(configs.to_json(config())))
    return file


def test_a_saved_config_is_the_config(saved):
    loaded = configs.load_config(str(saved))
    rules.validate(loaded)
    assert configs.to_json(loaded) == configs.to_json(config())
    assert loaded.stages == config().stages and loaded.is_locked


def test_flags_change_a_saved_config(saved, tmp_path):
    where = (f'--config={saved}', f'--workdir={tmp_path / "run"}')
    changes = ('--config.stages=pretrain', '--config.pretrain.steps=16')
    ended = command('perl.check', *where, *changes)
    assert ended.code == 0 and ', 0.454 epochs' in ended.out.splitlines()[1], ended


OF_DEFAULTS = """from perl import config as configs
def get_config(arg=None):
    config = configs.experiment('broken')
    {}
    return config
"""


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('import nowhere\n', r'broken\.py, line 1: ModuleNotFoundError'),
        ('x = (\n', r'broken\.py: SyntaxError: .*line 1'),
        ('def get_config(arg=None):\n    return {}["x"]', r"line 2: KeyError: 'x'"),
        ('def get_config(arg=None):\n    return arg.x', r'line 2: AttributeError'),
        ('def get_config():\n    pass', r'TypeError'),
        ('import sys\nsys.exit(0)', r'broken\.py, line 2: SystemExit: 0'),
        ('x = 3', r'broken\.py has no get_config'),
        ('def get_config(arg=None):\n    pass', r'returned None, not a ConfigDict'),
        ('\xff', r'broken\.py'),
        (OF_DEFAULTS.format('config["dop"].steps = 3'), r"line 4: KeyError: 'dop'$"),
        (
            OF_DEFAULTS.format('config.lock().reward.stepz = 1'),
            r"line 4: stepz is unknown; did you mean 'steps'\?$",
        ),
        (
            OF_DEFAULTS.format('config.stages = "sft"'),
            r"line 4: stages is 'sft' of the type str, not a tuple, such as \('sft'",
        ),
        (
            OF_DEFAULTS.format('config.sft.steps = "many"'),
            r"line 4: steps is 'many' of the type str, not a int$",
        ),
    ],
)
def test_broken_programs(tmp_path, text, says):
    file = tmp_path / 'broken.py'
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match=says):
        configs.load_config(str(file))
    assert re.search(says, command('perl.train', f'--config={file}').error)


@pytest.mark.parametrize(
    ('name', 'text', 'says'),
    [
        ('config.json', '[1]', r'config\.json: not a JSON object'),
        ('config.json', '{"a.b": 1}', r'--config: .*config\.json: config: .*dots'),
        (
            'results.json',
            '{"sft": {}}',
            r'results\.json has no data, .* give the config',
        ),
        ('x.json', '{"data": {}}', r'x\.json has no stages, so it is not a config'),
        ('config.yaml', 'a: 1', r'config\.yaml is neither a \.py nor a \.json file'),
    ],
)
def test_broken_data(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        configs.load_config(str(tmp_path / name))


def test_other_names(saved, tmp_path):
    with pytest.raises(UserError, match=r'nowhere\.py is not a file'):
        configs.load_config('nowhere.py')
    with pytest.raises(UserError, match='is not a file'):
        configs.load_config(str(tmp_path))
    with pytest.raises(UserError, match='takes no arguments after a colon'):
        configs.load_config(f'{saved}:tuning=full')


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'name': 5}, 'name: 5 (int) is not text'),
        ({'seed': 'one'}, "seed: 'one' (str) is not a whole number"),
        ({'stages': 5}, 'stages: 5 (int) is not a list'),
    ],
)
def test_a_saved_config_that_was_edited(saved, tmp_path, changes, says):
    saved.write_text(json.dumps(json.loads(saved.read_text()) | changes))
    for module in ('perl.train', 'perl.check'):
        assert says in command(module, f'--config={saved}').error


def test_stages_by_flag_must_be_names(tmp_path):
    assert "stages: '5' is not a stage" in launch(tmp_path, '--config.stages="5"').error
    assert 'stages[0]: 5 (int) is not' in launch(tmp_path, '--config.stages=5').error
