"""Rules for whoever rewards a policy: found before anything is trained or written."""

import json
import pathlib

import pytest
import runs

from perl.config import rules
from perl.system.errors import UserError

URL = 'http://localhost:8000/v1'
ENDPOINT = {'policy.reward': 'endpoint', 'policy.judge.url': URL,
            'policy.judge.model': 'm'}  # fmt: skip


@pytest.mark.parametrize(
    'changes',
    [
        ENDPOINT,
        {**ENDPOINT, 'policy.judge.key_env': 'MY_KEY'},
        {'policy.reward': 'model', 'policy.judge.model': 'sft'},
        {'policy.reward': 'gold'},
        {'policy.reward': 'json:dumps'},
    ],
)
def test_what_may_reward(changes, monkeypatch):
    monkeypatch.setenv('MY_KEY', 'secret')
    rules.validate(runs.config('', **changes))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'policy.reward': 'rewrd'}, r"policy\.reward: 'rewrd' is neither .*'reward'"),
        ({'policy.reward': 'sft'}, 'is neither an earlier stage that makes a reward'),
        ({'policy.reward': 'annotators'}, "policy.reward: 'annotators' is neither"),
        ({'policy.reward': 'no_such:f'}, 'there is no module no_such'),
        ({'policy.reward': 'json:dmps'}, "json has no dmps; did you mean 'dumps'"),
        ({'policy.reward': 'json:__name__'}, 'is not a function but of the type str'),
        ({'policy.reward': 'endpoint'}, 'policy.judge.url: endpoint needs one'),
        ({**ENDPOINT, 'policy.judge.model': ''}, 'judge.model: endpoint needs one'),
        ({**ENDPOINT, 'policy.judge.url': 'ftp://a/v1'},
         r"policy\.judge\.url: 'ftp://a/v1' is not an HTTP address"),
        ({**ENDPOINT, 'policy.judge.key_env': 'NOT_SET'},
         r'policy\.judge\.key_env: the environment variable NOT_SET .* is not set'),
        ({**ENDPOINT, 'policy.judge.key_env': 'sk-s3cret'},
         r'policy\.judge\.key_env: give the name of an environment variable'),
        ({**ENDPOINT, 'policy.judge.url': 'http://joe:s3cret@a/v1'},
         r"policy\.judge\.url: 'http://a/v1' was given with a name or password"),
        ({**ENDPOINT, 'policy.judge.url': 'http://a/v1?api_key=s3cret'},
         'was given with a query'),
        ({'policy.judge.url': 'http://joe:s3cret@a'}, 'given with a name or password'),
        ({'policy.judge.url': URL}, "url: is not used where policy.reward is 'reward'"),
        ({'policy.judge.model': 'm'}, 'policy.judge.model: is not used'),
        ({'policy.judge.key_env': 's3cret'}, 'policy.judge.key_env: is not used'),
        ({'policy.reward': 'model', 'policy.judge.model': 'sft',
          'policy.judge.url': URL}, 'policy.judge.url: is not used'),
        ({'policy.reward': 'gold', 'policy.value_start': 'reward'},
         'a value starts from one reward model, but gold is not one'),
    ],
)  # fmt: skip
def test_what_is_refused_before_the_start(changes, words, tmp_path):
    workdir = tmp_path / 'run'
    with pytest.raises(UserError, match=words) as caught:
        runs.run(runs.config('', **changes), workdir)
    assert 's3cret' not in str(caught.value) and '\n' not in str(caught.value)
    assert not workdir.exists()


def test_the_settings_of_before_are_refused_in_one_line():
    config = runs.config().unlock()
    config.policy.rater = {'kind': '', 'model': '', 'url': '', 'key_env': ''}
    with pytest.raises(UserError, match=r'policy\.rater: this .* policy\.judge'):
        rules.validate(config.lock())


def test_dpo_has_no_settings_for_a_language_model():
    from perl import config as configs

    config = runs.config().unlock()
    config.stages = ('pretrain', 'sft', 'reward', 'dpo')
    config.dpo = configs.dpo_config(1e-3, reward='endpoint', tuning=config.sft.tuning)
    with pytest.raises(UserError, match='needs settings that only a policy stage has'):
        rules.validate(config.lock())


def test_a_function_that_fails_is_found_before_the_first_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('fails_here.py').write_text(
        'def score(prompts, responses):\n    return [len(responses[9])]\n'
    )
    workdir = tmp_path / 'run'
    with pytest.raises(UserError, match='fails_here:score: the reward function raised'):
        runs.run(runs.config('', **{'policy.reward': 'fails_here:score'}), workdir)
    assert (
        not (workdir / 'pretrain').exists() and not (workdir / 'config.json').exists()
    )


def test_a_key_is_not_written(finished, tmp_path, monkeypatch):
    """The name of its variable is, in config.json."""
    monkeypatch.setenv('MY_KEY', 's3cret')
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    config = runs.config('', **{**ENDPOINT, 'policy.judge.key_env': 'MY_KEY'})
    runs.run(config, workdir, ['sft'])
    saved = json.loads((workdir / 'config.json').read_text())
    assert saved['policy']['judge']['key_env'] == 'MY_KEY'
    assert not any(b's3cret' in data for data in runs.files(workdir).values())
