"""Reward models of transformers (`num_labels=1`) as rewards, beside its own scores."""

import json

import foreign_models
import numpy as np
import pytest
import runs
import torch
import transformers
from commands import command

from perl.config import rules
from perl.data.chat import Chat
from perl.runs import classifiers
from perl.runs.judging import open_judge
from perl.system.errors import UserError

# as that of Llama 3, ending with a token that ends turns; and one with text behind it
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] | trim }}"
    '{{ eos_token }}{% endfor %}'
)
CONVERSATIONS = [
    ([('user', 'the table')], ' is free '),
    ([('system', 'be kind'), ('user', 'a'), ('assistant', 'b'), ('user', 'c?')], 'no'),
    ([('user', 'is the table for two people')], ''),
]


def save(folder, labels=1, template='', pad=None):
    """A folder with a reward model of random weights and its tokenizer."""
    foreign_models.save_llama(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.num_labels, config.pad_token_id = labels, pad
    torch.manual_seed(1)
    model = transformers.LlamaForSequenceClassification(config)
    foreign_models.randomise(model)
    model.save_pretrained(folder)
    file = folder / 'tokenizer_config.json'
    said = json.loads(file.read_text())
    file.write_text(
        json.dumps(said | ({'chat_template': template} if template else {}))
    )
    return folder


def scores(folder, rows):
    """What transformers says of rows of ids, one at a time."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        return [model.eval()(torch.tensor([row])).logits[0, 0].item() for row in rows]


@pytest.mark.parametrize('pad', [None, 2], ids=['no pad', 'pad is eos'])
@pytest.mark.parametrize('after', ['', '\n'], ids=['end', 'text behind the end'])
def test_conversations(tmp_path, pad, after):
    template = TEMPLATE.replace('{% endfor %}', f'{after}{{% endfor %}}')
    folder = save(tmp_path / 'model', template=template, pad=pad)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = [
        tokenizer.apply_chat_template(
            [{'role': role, 'content': text} for role, text in [*turns, answer]],
            return_dict=False,
        )
        for turns, response in CONVERSATIONS
        for answer in [('assistant', response)]
    ]
    got = classifiers.load(str(folder))[1](
        [Chat(tuple(turns)) for turns, _ in CONVERSATIONS],
        [response for _, response in CONVERSATIONS],
    )
    want = scores(folder, rows)
    assert np.std(want) > 0.01
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_plain_texts(tmp_path):
    folder = save(tmp_path / 'model')
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompts, responses = ['the table', 'a'], [' is free', ' b c']
    got = open_judge(str(folder)).reward(prompts, responses)
    rows = [
        tokenizer(a + b)['input_ids'] for a, b in zip(prompts, responses, strict=True)
    ]
    np.testing.assert_allclose(got, scores(folder, rows), atol=1e-4)


def test_two_labels_are_not_a_reward(tmp_path):
    folder = save(tmp_path / 'model', labels=2)
    says = f'{folder} has 2 labels; a reward model has one'
    with pytest.raises(UserError, match=f'^reward model: {says}'):
        open_judge(str(folder))
    config = runs.config(**{'policy.reward': str(folder)})
    with pytest.raises(UserError, match=rf'^policy\.reward: {says}'):
        rules.validate(config)


def test_a_model_without_a_tokenizer(tmp_path):
    folder = save(tmp_path / 'model')
    (folder / 'tokenizer.json').unlink()
    with pytest.raises(UserError, match=r'^reward model: .* brings no tokenizer'):
        open_judge(str(folder))


def test_it_trains_and_judges_a_policy(finished, tmp_path):
    """On a mesh."""
    folder = save(tmp_path / 'model', template=TEMPLATE)
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain', 'sft'])
    changes = {'policy.reward': str(folder), 'policy.algorithm': 'rloo'}
    changes |= {'policy.steps': 1, 'policy.samples': 2, 'mesh.data': 2}
    config = runs.config(**changes, stages=('pretrain', 'sft', 'policy'))
    figures = runs.run(config, workdir)['policy']
    assert figures['reward_before'] != figures['reward_after']
    ended = command('perl.evaluate', f'--workdir={workdir}', f'--judge={folder}')
    assert ended.code == 0, ended
    assert f'judged by the reward that trained it ({folder})' in ended.out


def test_a_merged_reward_model_gives_the_rewards_of_the_run(finished, tmp_path):
    """With bias, shift and scale, by the commands."""
    rows = tmp_path / 'pairs.jsonl'
    pair = {'prompt': 'A table for two?', 'chosen': ' Yes.', 'rejected': ' No, sorry.'}
    rows.write_text(json.dumps(pair) + '\n')
    made = tmp_path / 'made'
    ended = command(
        'perl.export', f'--workdir={finished}', '--stage=reward', '--format=merged',
        f'--output={made}',
    )  # fmt: skip
    assert ended.code == 0, ended
    asked = f'--input={rows}'
    want = command('perl.score', f'--workdir={finished}', '--reward=reward', asked)
    got = command('perl.score', f'--model={made}', asked)
    assert got.code == want.code == 0, got
    numbers = [
        [x for k, x in json.loads(y.out).items() if 'reward' in k] for y in (got, want)
    ]
    np.testing.assert_allclose(*numbers, atol=1e-5)
    assert got.err.startswith(f'{made}: 1 pair, accuracy')
