"""`perl.score`: texts in, rewards out."""

import functools
import json
import os

import numpy as np
import pytest
import runs
from commands import command

from perl.runs.opening import open_finished
from perl.score import score
from perl.system import samples
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('score') / 'run'
    return open_finished(runs.clone(finished, workdir))


@pytest.fixture(scope='module')
def rows(finished):
    """Held-out responses of the policy with the rewards that the run gave them."""
    return samples.read(finished / 'policy')


TEXTS = (['Hello.', 'A table.', 'Hello.'], ['Yes.', '', 'No, sorry, we are full.'])


def test_a_reward_does_not_depend_on_batch_mates(opened):
    """Each alone and all together, in any order; an empty response has one too."""
    prompts, responses = TEXTS
    together = score(opened, 'reward', prompts, responses)
    assert together.shape == (3,) and together.dtype == np.float32
    assert np.isfinite(together).all() and len(set(together.tolist())) == 3
    alone = [
        score(opened, 'reward', [prompt], [response])[0]
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    back = score(opened, 'reward', prompts[::-1], responses[::-1])
    np.testing.assert_allclose(together, back[::-1], atol=1e-5)


def test_responses_of_the_policy_have_the_rewards_of_the_run(opened, rows):
    """Where the text has the very tokens that were sampled."""
    found = score(
        opened,
        'reward',
        [row['prompt'] for row in rows],
        [row['response'] for row in rows],
    )
    tokenizer, limit = opened.tokenizer, opened.config.lengths.response
    ended = [len(tokenizer.encode(row['response'])) + 1 <= limit for row in rows]
    wanted = np.array([row['reward'] for row in rows])
    close = np.abs(found - wanted) < 1e-4
    assert close.sum() >= sum(ended) / 2
    assert len(found) == len(rows) == 8


def test_file_and_standard_input_give_the_same(finished, tmp_path):
    prompts, responses = TEXTS
    file, output = tmp_path / 'in.jsonl', tmp_path / 'out.jsonl'
    lines = [
        {'prompt': prompt, 'response': response, 'more': 1}
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    where = f'--workdir={finished}'
    by_file = command('perl.score', where, f'--input={file}', '--reward=reward')
    by_line = command('perl.score', where, '--reward=reward', stdin=file.read_text())
    assert by_file.code == by_line.code == 0, (by_file, by_line)
    assert by_file.out == by_line.out and by_file.err == 'reward: 3 responses\n'
    found = [json.loads(line) for line in by_file.out.splitlines()]
    assert [row['response'] for row in found] == responses
    assert all(row.keys() == {'prompt', 'response', 'reward'} for row in found)
    to_file = command(
        'perl.score', where, f'--input={file}', f'--output={output}', '--reward=reward'
    )
    assert to_file.out == '' and output.read_text() == by_file.out


def test_the_last_reward_model_is_taken(finished, opened):
    line = '{"prompt": "a", "response": "b"}\n'
    ended = command('perl.score', f'--workdir={finished}', stdin=line)
    assert ended.err == 'reward_full: 1 response\n'
    wanted = score(opened, 'reward_full', ['a'], ['b'])[0]
    assert json.loads(ended.out)['reward'] == pytest.approx(float(wanted), abs=1e-5)
    assert score(opened, '', ['a'], ['b'])[0] == wanted
    folder = finished / 'reward_full' / 'adapter'
    assert score(opened, str(folder), ['a'], ['b'])[0] == wanted


def test_nothing_to_score_with(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    with pytest.raises(UserError, match='has no finished reward stage; give --reward='):
        score(open_finished(workdir), '', ['a'], ['b'])


@pytest.mark.parametrize(
    ('flags', 'stdin', 'words'),
    [
        ([], '', '--input: give a file, or JSON lines on standard input'),
        (
            [],
            '{"prompt": "a"}\n',
            'standard input, line 1: not a JSON object with prom',
        ),
        ([], '{"prompt": "a", "response": 3}\n', "line 1: 'response' is 3, not text"),
        ([], '{"prompt": "a", "prompt": "b"}', "line 1: the key 'prompt' is there tw"),
        ([], 'x\n', 'standard input, line 1: not a JSON object'),
        ([], b'{"prompt": "\xff"}', 'standard input, line 1: byte 13 is not UTF-8'),
        (['--input=nowhere.jsonl'], '', 'nowhere.jsonl'),
        (['--output=tests'], '', '--output: tests is a folder; name a file'),
        (
            ['--input=tests/x.jsonl', '--output=./tests/../tests/x.jsonl'],
            '',
            'x.jsonl is an input file; name another file',
        ),
        (['--reward=rewrd'], '{"prompt": "a", "response": "b"}', 'rewrd'),
        (['--reward=sft'], '{"prompt": "a", "response": "b"}', 'it makes a policy'),
        (['--workdir=nowhere'], '', 'nowhere/config.json is not there'),
    ],
)
def test_errors(finished, flags, stdin, words):
    args = (f'--workdir={finished}', *flags)
    assert words in command('perl.score', *args, stdin=stdin).error


def test_pairs_without_a_verdict_are_no_losses(opened, tmp_path):
    """A function of one's own may have no verdict on a response."""
    (tmp_path / 'half_a_judge.py').write_text(
        'def longer(prompts, responses):\n'
        "    return [None if x == 'none' else len(x) for x in responses]\n"
    )
    pairs = [('long', 'a'), ('none', 'a'), ('b', 'none'), ('c', 'd')]
    lines = [
        json.dumps({'prompt': 'p', 'chosen': chosen, 'rejected': rejected})
        for chosen, rejected in pairs
    ]
    (tmp_path / 'pairs.jsonl').write_text('\n'.join(lines))
    ended = command(
        *('perl.score', f'--workdir={opened.workdir}', '--input=pairs.jsonl'),
        '--reward=half_a_judge:longer',
        before=functools.partial(os.chdir, tmp_path),
    )
    assert ended.code == 0, ended
    assert '4 pairs, 2 without a verdict, accuracy 75.0%' in ended.err
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [row['chosen_reward'] for row in rows] == [4.0, None, 1.0, 1.0]
