"""`perl.generate`: prompts in, responses out."""

import dataclasses

import pytest
import runs
from commands import command

from perl.generate import generate
from perl.rollout.choosing import Sampling
from perl.runs.opening import open_finished
from perl.system.errors import UserError

PROMPTS = ('A table for two at seven.', 'Four of us, tomorrow at eight, by the window.')


def say(workdir, *args, **options):
    ended = command('perl.generate', f'--workdir={workdir}', *args, **options)
    assert ended.code == 0 and ended.err == '', ended
    return ended.out.splitlines()


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('generate') / 'run'
    return open_finished(runs.clone(finished, workdir))


def test_prompts_by_flag_and_by_line(finished):
    flags = [f'--prompt={prompt}' for prompt in PROMPTS]
    by_flag = say(finished, '--temperature=0', *flags)
    by_line = say(finished, '--temperature=0', stdin='\n'.join(PROMPTS) + '\n')
    assert by_flag == by_line != []


@pytest.mark.parametrize('adapter', ['base', 'sft'])
def test_other_adapters(finished, adapter):
    args = ('--max_tokens=3', '--prompt=Hello', f'--adapter={adapter}')
    assert say(finished, *args)


def sampling(opened, **changes):
    plain = Sampling(8, opened.tokenizer.eos, 1.0, 0, 1.0)
    return dataclasses.replace(plain, **changes)


def test_greedy_has_no_chance(opened):
    params, greedy = opened.role('policy').bound(), sampling(opened, temperature=0.0)
    first, second = (generate(opened, params, PROMPTS, greedy, seed) for seed in (0, 1))
    assert first == second


def test_top_one_is_greedy(opened):
    params = opened.role('policy').bound()
    greedy, top = sampling(opened, temperature=0.0), sampling(opened, top_k=1)
    assert generate(opened, params, PROMPTS, greedy) == generate(
        opened, params, PROMPTS, top, seed=5
    )


def test_seeds(opened):
    params = opened.role('policy').bound()
    again = [
        generate(opened, params, PROMPTS, sampling(opened), seed) for seed in (0, 0, 1)
    ]
    assert again[0] == again[1] != again[2]


def test_long_prompt_loses_its_beginning(opened):
    params, greedy = opened.role('policy').bound(), sampling(opened, temperature=0.0)
    long = 'and then some ' * 60
    assert generate(opened, params, [long], greedy) == generate(
        opened, params, [long + long][:1], greedy
    )


def test_no_room_for_a_prompt(opened):
    with pytest.raises(UserError, match='--max_tokens: 64 leaves no room'):
        generate(opened, opened.base, PROMPTS, sampling(opened, max_tokens=64))


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--adapter=polcy', '--prompt=a'], 'polcy'),
        (['--workdir=nowhere', '--prompt=a'], 'nowhere/config.json is not there'),
        (['--adapter=reward', '--prompt=a'], 'reward: it makes a reward model'),
        ([], '--prompt: give one'),
        (['--temperature=-1', '--prompt=a'], 'temperature'),
        (['--temperature=nan', '--prompt=a'], 'temperature: nan must be finite'),
        (['--temperature=inf', '--prompt=a'], 'temperature: inf must be finite'),
        (['--top_p=0', '--prompt=a'], 'top_p'),
        (['--top_p=nan', '--prompt=a'], 'top_p: nan must be in (0, 1]'),
        (['--seed=-1', '--prompt=a'], 'seed=-1'),
        (['--seed=99999999999999999999', '--prompt=a'], 'seed=99999999999999999999'),
        (['--top_k=-2', '--prompt=a'], 'top_k'),
        (['--max_tokens=-2', '--prompt=a'], 'max_tokens'),
    ],
)
def test_errors(finished, flags, words):
    ended = command('perl.generate', f'--workdir={finished}', *flags)
    assert words in ended.error


def test_a_value_is_no_policy(finished):
    folder = finished / 'policy' / 'value'
    args = (f'--workdir={finished}', f'--adapter={folder}', '--prompt=a')
    assert 'it has a scalar head' in command('perl.generate', *args).error
