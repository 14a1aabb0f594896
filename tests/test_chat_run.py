"""A whole run on rows of messages: SFT, a reward model and a policy, over a base whose
tokenizer has a chat template."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import runs
from commands import command

from perl.check import check
from perl.config import rules
from perl.data.chat import Chat, ChatTokenizer, has_messages, stops
from perl.generate import generate
from perl.runs.opening import open_data, open_finished
from perl.runs.tokenizer import open_tokenizer
from perl.score import score
from perl.system.errors import UserError

TEMPLATE = (
    '{% for m in messages %}{{ bos_token + m.role[0] + m.content + eos_token }}'
    '{% endfor %}{% if add_generation_prompt %}{{ bos_token }}a{% endif %}'
)
CHANGES = {
    'tokenizer.kind': 'bytes',
    'model.max_length': 64,
    'lengths.prompt': 24,
    'lengths.response': 8,
    **{f'{stage}.steps': 2 for stage in ('pretrain', 'sft', 'reward', 'policy')},
    **{f'{stage}.eval_every': 0 for stage in ('pretrain', 'sft', 'reward')},
}


def rows():
    """Thirty two conversations as each kind of record."""
    for n in range(32):
        asked = [{'role': 'user', 'content': f'say {n}'}]
        good, bad = ({'role': 'assistant', 'content': x} for x in (f'{n}!', 'no'))
        yield {
            'text': {'text': f'say {n} please'},
            'demonstrations': {'messages': [*asked, good]},
            'comparisons': {'prompt': asked, 'chosen': [good], 'rejected': [bad]},
            'ratings': {'messages': [*asked, bad], 'label': 0},
            'prompts': {'prompt': asked},
        }


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('chat')
    records = list(rows())
    for kind in records[0]:
        lines = (json.dumps(row[kind]) for row in records)
        (folder / f'{kind}.jsonl').write_text('\n'.join(lines))
    template = folder / 'chat.jinja'
    template.write_text(TEMPLATE)
    changes = {**CHANGES, 'tokenizer.chat_template': str(template)}
    return runs.config(f'files={folder}', **changes)


@pytest.fixture(scope='module')
def finished_chat(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('chat_run') / 'run'
    return workdir, runs.run(config, workdir)


def test_what_is_learned_is_shown(config, tmp_path):
    found = check(config, tmp_path / 'run')
    seen = found['examples']['demonstrations/train']
    prompt, answer = seen.split('\n')
    number = answer.strip('«»').removesuffix('!</s>')
    assert prompt == f'<s>usay {number}</s><s>a' and answer == f'«{number}!</s>»'


def test_a_run_on_messages(finished_chat):
    workdir, figures = finished_chat
    assert np.isfinite(figures['sft']['val_loss'])
    assert np.isfinite(figures['policy']['kl'])
    run = open_finished(workdir)
    assert run.tokenizer.stops == (2,)  # the end of a turn is eos here
    made = run.encoded(run.dataset.prompts['test'])
    assert run.tokenizer.decode(made.prompts[0]).startswith('usay ')
    # the base brings the template to a run that goes on from it
    base = workdir / 'pretrain' / 'base'
    settings = {**CHANGES, 'model.path': str(base), 'stages': ('sft',)}
    settings.pop('tokenizer.kind')
    config = runs.config(**settings)
    brought = open_tokenizer(config, run.dataset, workdir / 'of_base')
    assert brought.template.source == TEMPLATE and brought.stops == (2,)
    # and not to one whose rows are texts
    texts = dataclasses.replace(run.dataset, prompts={'train': ['a']}, ratings={},
                                comparisons={}, demonstrations={})  # fmt: skip
    plain = open_tokenizer(config, texts, workdir / 'of_texts')
    assert stops(plain) == 2 and not isinstance(plain, ChatTokenizer)
    # the model of the run reads what a person types as a user's turn
    (typed,) = score(run, 'reward', ['say 3'], ['3!'])
    messages = Chat([('user', 'say 3')])
    assert typed == score(run, 'reward', [messages], ['3!'])[0]
    ended = command('perl.generate', f'--workdir={workdir}', '--prompt=say 3')
    assert ended.code == 0
    assert ended.out.rstrip('\n') == generate(run, '', [messages])[0].rstrip('\n')


@pytest.mark.parametrize('form', ['bundle', 'peft'])
def test_a_reward_model_knows_that_it_was_trained_on_messages(
    finished_chat, tmp_path, form
):
    """Without its run, and without --chat."""
    workdir, _ = finished_chat
    where = tmp_path / 'reward'
    role = f'--workdir={workdir}', '--stage=reward', f'--format={form}'
    ended = command('perl.export', *role, f'--output={where}')
    assert ended.code == 0, ended
    assert ('renderings of the chat template' in ended.err) == (form == 'peft')
    base = f'--model={workdir / "pretrain" / "base"}'
    row = json.dumps({'prompt': 'say 3', 'response': '3!'})
    alone = command('perl.score', base, f'--adapter={where}', stdin=row)
    assert 'with the chat template, as it was trained' in alone.err, alone
    (want,) = score(open_finished(workdir), 'reward', ['say 3'], ['3!'])
    assert json.loads(alone.out)['reward'] == pytest.approx(want, abs=1e-5)
    # a row of messages is the same
    turns = {'prompt': ('user', 'say 3'), 'response': ('assistant', '3!')}
    turns = {k: [{'role': x, 'content': y}] for k, (x, y) in turns.items()}
    messages = command(
        'perl.score', base, f'--adapter={where}', stdin=json.dumps(turns)
    )
    assert json.loads(messages.out) == {**json.loads(alone.out), **turns}, messages
    # and passes it on
    again = tmp_path / 'again'
    to = f'--adapter={where}', '--format=bundle', f'--output={again}'
    assert command('perl.export', base, *to).code == 0
    assert command('perl.score', base, f'--adapter={again}', stdin=row).out == alone.out


def test_a_model_without_a_template_cannot_take_its_place(finished_chat, tmp_path):
    workdir, _ = finished_chat
    base = shutil.copytree(workdir / 'pretrain' / 'base', tmp_path / 'base')
    (base / 'tokenizer' / 'chat_template.jinja').unlink()
    adapter = f'--adapter={workdir / "reward" / "adapter"}'
    row = '{"prompt": "a", "response": "b"}'
    ended = command('perl.score', f'--model={base}', adapter, stdin=row)
    assert 'was trained on messages, and the model has no chat template' in ended.error


def test_a_template_that_raises_names_the_row(config, tmp_path):
    file = tmp_path / 'no.jinja'
    file.write_text(
        "{% if '7' in messages[0].content %}{{ raise_exception('not 7') }}{% endif %}"
        + TEMPLATE
    )
    with config.unlocked():
        config.tokenizer.chat_template = str(file)
    what = rf'row \d+: chat template {file}: it raises an error .*not 7'
    with pytest.raises(UserError, match=what):
        check(config, tmp_path / 'run')


def test_plain_prompts_become_turns_where_the_config_says_so():
    plain, chats = (
        open_data(runs.config(**{'tokenizer.chat': how})) for how in ('messages', 'all')
    )
    assert has_messages(chats) and not has_messages(plain)
    before, after = (x.demonstrations['train'][0] for x in (plain, chats))
    assert after.prompt.messages == (('user', before.prompt),)
    assert after.response == before.response.strip()
    with pytest.raises(UserError, match=r"tokenizer.chat: 'every' is not one of"):
        rules.validate(runs.config(**{'tokenizer.chat': 'every'}))
