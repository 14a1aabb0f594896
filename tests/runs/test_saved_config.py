"""A run's config.json that was edited or is of another version: one line each."""

import json
import shutil

import pytest
import runs

from perl import config as configs
from perl.runs import saved_config
from perl.system.errors import UserError

DEEP = json.loads('{"a":' * 90 + '1' + '}' * 90)


def put(path, value):
    """An edit that sets a value by its path."""

    def edit(config):
        *sections, name = path.split('/')
        for section in sections:
            config = config[section]
        config[name] = value

    return edit


def drop(path):
    def edit(config):
        *sections, name = path.split('/')
        for section in sections:
            config = config[section]
        del config[name]

    return edit


def rename(stage, new, old):
    def edit(config):
        config[stage][old] = config[stage].pop(new)

    return edit


EDITS = {
    'a section is gone': drop('lengths'),
    'the model is gone': drop('model'),
    'the stages are gone': drop('stages'),
    'a stage is gone': drop('sft'),
    'a field is gone': drop('sft/steps'),
    'the optimizer is gone': drop('sft/optimizer'),
    'the kind is gone': drop('reward/kind'),
    'the tuning has no name': drop('sft/tuning/name'),
    'the data have no name': drop('data/name'),
    'an unknown field': put('sft/stepz', 3),
    'an unknown section': put('nothing', {'a': 1}),
    'text for a number': put('sft/steps', 'many'),
    'a list for a number': put('sft/steps', [6]),
    'null for a number': put('policy/gamma', None),
    'true for a number': put('seed', True),
    'a number for a section': put('model', 3),
    'a number for a stage': put('sft', 3),
    'a list for a section': put('sft/optimizer', [1]),
    'a number for the stages': put('stages', 5),
    'text for the stages': put('stages', 'sft'),
    'numbers for the stages': put('stages', [1, 2]),
    'null for the name': put('name', None),
    'a number for a kind': put('sft/kind', 7),
    'an unknown kind': put('sft/kind', 'sfft'),
    'a section for a kind': put('sft/kind', {'kind': 'sft'}),
    'a huge number': put('sft/steps', 10**400),
    'a negative number': put('lengths/prompt', -1),
    'deep nesting': put('sft/tuning', DEEP),
    'deep nesting at the top': put('deep', DEEP),
    'a name with a dot': put('a.b', {'kind': 'sft'}),
    'a path for a name': lambda config: config.update({'/': {'kind': 'sft'}}),
    'targets of numbers': put('sft/tuning/targets', [1]),
}


@pytest.fixture
def workdir(tmp_path):
    """A folder in which SFT has begun."""
    saved_config.write(runs.config(), tmp_path)
    (tmp_path / 'sft').mkdir()
    (tmp_path / 'sft' / 'metrics.jsonl').write_text('{"step": 1, "seconds": 1}\n')
    return tmp_path


def edited(workdir, edit):
    file = workdir / 'config.json'
    config = json.loads(file.read_text())
    edit(config)
    file.write_text(json.dumps(config))


def test_it_comes_back(workdir):
    saved = saved_config.saved(workdir)
    assert configs.to_json(saved) == configs.to_json(runs.config())
    saved_config.check(runs.config(), workdir)


@pytest.mark.parametrize('name', EDITS)
def test_edited(workdir, name):
    edited(workdir, EDITS[name])
    with pytest.raises(UserError) as raised:
        saved_config.saved(workdir)
    error = str(raised.value)
    assert error.startswith(f'{workdir / "config.json"}: ')
    assert 'it was edited or is of another version' in error
    assert '\n' not in error and len(error) < 700
    # training finds whatever concerns what has begun, or has no objection
    try:
        saved_config.check(runs.config(), workdir)
    except UserError as error:
        assert '\n' not in str(error)


@pytest.mark.parametrize('text', ['', '{"half": ', '[]', '3', '{"a":' * 9999])
def test_damaged(workdir, text):
    (workdir / 'config.json').write_text(text)
    for call in (saved_config.saved, lambda x: saved_config.check(runs.config(), x)):
        with pytest.raises(UserError, match=r'config\.json: not a JSON object'):
            call(workdir)


def test_of_an_older_version(workdir):
    edited(workdir, rename('sft', 'micro_batches', 'parts'))
    edited(workdir, rename('policy', 'ema_rate', 'anchor_rate'))
    said = 'sft.parts is now called micro_batches'
    with pytest.raises(UserError, match=f'{said}; policy.anchor_rate is now'):
        saved_config.saved(workdir)
    with pytest.raises(UserError, match=rf'older version of perl .*{said}.*finish it'):
        saved_config.check(runs.config(), workdir)


def test_another_config(workdir):
    said = r'config \(sft.steps: was 6, is 9\); give the old values or another'
    with pytest.raises(UserError, match=rf'{said} .*, or remove \S+/sft to train sft'):
        saved_config.check(runs.config(**{'sft.steps': 9}), workdir)
    with pytest.raises(UserError, match=r'\(seed: was 0, is 1\).* another --workdir$'):
        saved_config.check(runs.config(seed=1), workdir)
    saved_config.check(runs.config(**{'policy.steps': 9}), workdir)


def test_a_removed_folder_frees_its_settings(workdir):
    """Also where `results.json` still has the figures of the stage."""
    (workdir / 'results.json').write_text('{"sft": {"steps": 6}, "reward": {}}')
    (workdir / 'reward').mkdir()
    (workdir / 'reward' / 'metrics.jsonl').write_text('{"step": 1, "seconds": 1}\n')
    shutil.rmtree(workdir / 'sft')
    saved_config.check(runs.config(**{'sft.steps': 9}), workdir)
    with pytest.raises(UserError, match=r'reward\.steps: was 6, is 9'):
        saved_config.check(runs.config(**{'reward.steps': 9}), workdir)
