"""`perl.generate`: prompts in, responses out."""

import dataclasses
import json
import shutil

import pytest
import runs
from commands import command

from perl.generate import generate
from perl.rollout.choosing import Sampling
from perl.runs.opening import open_finished
from perl.system.errors import UserError

PROMPTS = ('A table for two at seven.', 'Four of us, tomorrow at eight, by the window.')


def say(workdir, *args, **options):
    """What the command prints, and what it notes beside."""
    ended = command('perl.generate', f'--workdir={workdir}', *args, **options)
    assert ended.code == 0, ended
    (note,) = ended.err.splitlines()
    return ended.out, note


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('generate') / 'run'
    return open_finished(runs.clone(finished, workdir))


def test_prompts_by_flag_and_by_line(finished):
    flags = [f'--prompt={prompt}' for prompt in PROMPTS]
    by_flag = say(finished, '--temperature=0', *flags)
    by_line = say(finished, '--temperature=0', stdin='\n'.join(PROMPTS) + '\n')
    assert by_flag == by_line == (by_flag[0], 'policy, temperature 0')


def test_which_prompt_a_response_is_for(finished, opened):
    greedy = sampling(opened, temperature=0.0, max_tokens=16)
    texts = generate(opened, 'policy', PROMPTS, greedy)
    flags = [f'--prompt={prompt}' for prompt in PROMPTS]
    several, _ = say(finished, '--temperature=0', *flags)
    parts = zip(PROMPTS, texts, strict=True)
    assert several == ''.join(f'> {prompt}\n{text}\n\n' for prompt, text in parts)
    alone, _ = say(finished, '--temperature=0', flags[0])
    assert alone == texts[0] + '\n'
    rows, _ = say(finished, '--temperature=0', '--json', *flags)
    assert [json.loads(line) for line in rows.splitlines()] == [
        {'prompt': prompt, 'response': text}
        for prompt, text in zip(PROMPTS, texts, strict=True)
    ]


@pytest.mark.parametrize('adapter', ['base', 'sft'])
def test_other_adapters(finished, adapter):
    args = ('--max_tokens=3', '--prompt=Hello', f'--adapter={adapter}')
    text, note = say(finished, *args)
    assert text and note == f'{adapter}, temperature 1'


@pytest.mark.parametrize(
    ('gone', 'taken'),
    [((), 'policy'), (('policy',), 'sft'), (('policy', 'sft'), 'base')],
)
def test_the_last_policy_that_is_there(finished, tmp_path, gone, taken):
    """A policy that is finished, whatever its name; else SFT's, else the base."""
    workdir = runs.clone(finished, tmp_path / 'run')
    for stage in gone:
        shutil.rmtree(workdir / stage)
    ended = command('perl.generate', f'--workdir={workdir}', '--prompt=a')
    *notes, last = ended.err.splitlines()
    assert ended.code == 0 and last == f'{taken}, temperature 1'
    # a stage that is left names what it was trained on and is gone
    assert all('since it was trained' in note for note in notes)


def test_a_policy_of_another_name(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    (workdir / 'policy').rename(workdir / 'ppo')
    saved = json.loads((workdir / 'config.json').read_text())
    saved['ppo'] = {**saved.pop('policy'), 'temperature': 0.5}
    saved['policy'] = saved['ppo']
    saved['stages'][-1] = 'ppo'
    (workdir / 'config.json').write_text(json.dumps(saved))
    text, note = say(workdir, '--prompt=a', '--seed=3')
    assert note == 'ppo, temperature 0.5', 'as it was trained'
    assert text == say(workdir, '--prompt=a', '--seed=3', '--temperature=0.5')[0]
    assert text != say(workdir, '--prompt=a', '--seed=3', '--temperature=1')[0]


def test_many_prompts_come_in_batches(opened):
    """The first of twenty are answered as if they were alone in their batch of 8."""
    greedy = sampling(opened, temperature=0.0)
    prompts = [f'{PROMPTS[0]} {i}' for i in range(20)]
    texts = generate(opened, 'sft', prompts, greedy)
    assert len(texts) == 20 and len(set(texts)) > 1
    for part in (slice(0, 8), slice(16, 20)):
        assert texts[part] == generate(opened, 'sft', prompts[part], greedy)


def test_a_prompt_that_is_cut_is_told(finished):
    long, short = 'and then some ' * 60, 'Hello.'
    _, note = say(finished, f'--prompt={long}', f'--prompt={short}')
    assert note == 'policy, temperature 1; 1 of 2 prompts lost their beginning'


def test_input_that_is_not_utf8(finished):
    ended = command('perl.generate', f'--workdir={finished}', stdin=b'good\nb\xff d\n')
    assert ended.error == (
        'error: standard input, line 2: byte 2 is not UTF-8; convert the text to UTF-8'
    )


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
        ([], '--prompt: give one, or lines on standard input'),
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
