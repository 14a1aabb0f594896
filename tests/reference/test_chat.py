"""Conversations in token ids, beside transformers' `apply_chat_template`.

The templates are those of well-known families, shortened to what they do to messages.
"""

import functools

import hypothesis
import hypothesis.strategies as st
import pytest
import tokenizers as hf
import transformers

from perl.data import tokenizers
from perl.data.chat import Template, encode, of_files, prompt_ids
from perl.data.tokenizers import Json
from perl.models import files
from perl.system.errors import UserError
from tests.tokenizer_files import SPECIAL as SPECIAL_OF
from tests.tokenizer_files import llama2, metaspace

SPECIAL = [
    *('<s>', '</s>', '<|im_start|>', '<|im_end|>', '<|begin_of_text|>', '<|eot_id|>'),
    *('<|start_header_id|>', '<|end_header_id|>', '<start_of_turn>', '<end_of_turn>'),
    *('[INST]', '[/INST]', '<|end|>', '<|user|>', '<|assistant|>', '<|system|>'),
]
CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] !=
 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
MARKED = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['role'] == 'assistant' %}
{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
LLAMA3 = """{% for message in messages %}{% set content = '<|start_header_id|>' +
 message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>'
 %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}
{{- content }}{% endfor %}{% if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0)
 %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}
{% if message['role'] == 'assistant' %}{% set role = 'model' %}
{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"""
MISTRAL = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user'
 %}{{ '[INST] ' + message['content'] + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}
{%- endif %}{% endfor %}"""
PHI3 = """{% for message in messages %}{% if message['role'] == 'system' %}
{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user'
 %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}
{%- else %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}
{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"""
ZEPHYR = """{% for message in messages %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
{% endfor %}"""
# Qwen3 drops the thoughts of all turns but the last
QWEN3 = """{% for message in messages %}{% set content = message.content %}
{%- if message.role == 'assistant' and not loop.last and '</think>' in content %}
{%- set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}
{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
TEMPLATES = {
    'chatml': CHATML,
    'marked': MARKED,
    'llama3': LLAMA3,
    'gemma': GEMMA,
    'mistral': MISTRAL,
    'phi3': PHI3,
    'qwen3': QWEN3,
    'zephyr': ZEPHYR,
}
END = {
    'llama3': '<|eot_id|>',
    'gemma': '<end_of_turn>',
    'mistral': '</s>',
    'phi3': '<|end|>',
    'zephyr': '</s>',
}
ONE = [('user', 'A table for two?'), ('assistant', 'Done, at seven.')]
TALK = [*ONE, ('user', ' Make it three.\n'), ('assistant', "It's done ")]
BRIEF = ('system', 'Be brief.')


@functools.cache
def byte_level() -> str:
    """A `tokenizer.json` of the form of GPT-2, with the special tokens of all."""
    made = hf.Tokenizer(hf.models.BPE())
    made.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [content for _, content in TALK] * 9 + ['assistant\n\nuser\nsystem\n'] * 9
    made.train_from_iterator(texts, trainer)
    return made.to_str()


@functools.cache
def both(name: str):
    """Ours and that of transformers, of one family."""
    begin = '<|begin_of_text|>' if name == 'llama3' else '<s>'
    source = TEMPLATES[name]
    ours = Json(byte_level(), pad='</s>', bos=begin, eos='</s>')
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=hf.Tokenizer.from_str(byte_level()),
        bos_token=begin,
        eos_token='</s>',
        chat_template=source,
    )
    return ours, Template(source, begin, '</s>', name), theirs


def dicts(messages):
    return [{'role': role, 'content': content} for role, content in messages]


def conversations(name):
    found = [ONE, TALK]
    return found if name in ('gemma', 'mistral') else [*found, [BRIEF, *TALK]]


@pytest.mark.parametrize('name', TEMPLATES)
def test_ids_of_a_prompt_are_those_of_transformers(name):
    ours, template, theirs = both(name)
    for messages in conversations(name):
        asked = messages[:-1]
        assert template.render(asked, True) == theirs.apply_chat_template(
            dicts(asked), add_generation_prompt=True, tokenize=False
        )
        expected = theirs.apply_chat_template(
            dicts(asked), add_generation_prompt=True, return_dict=False
        )
        assert prompt_ids(ours, template, asked) == expected


@pytest.mark.parametrize('name', TEMPLATES)
def test_ids_of_a_conversation_are_those_of_transformers(name):
    ours, template, theirs = both(name)
    for messages in conversations(name):
        ids, mask = encode(ours, template, messages)
        assert ids == theirs.apply_chat_template(dicts(messages), return_dict=False)
        assert len(mask) == len(ids)
        # what is trained on: each turn with the token that ends it, and nothing else
        end = theirs.convert_tokens_to_ids(END.get(name, '<|im_end|>'))
        trained, turn = [], []
        for i, learned in zip(ids, mask, strict=True):
            turn += [i] if learned else []
            if learned and i == end:
                trained.append(theirs.decode(turn[:-1]).strip())
                turn = []
        assert turn == []
        said = [content.strip() for role, content in messages if role == 'assistant']
        assert trained == said


def test_the_mask_of_generation_blocks_is_that_of_transformers():
    ours, template, theirs = both('marked')
    for messages in conversations('marked'):
        expected = theirs.apply_chat_template(
            dicts(messages), return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = encode(ours, template, messages)
        assert ids == expected['input_ids']
        assert [*map(int, mask)] == expected['assistant_masks']


def test_a_template_that_rewrites_earlier_turns_is_refused_or_right():
    ours, template, _ = both('qwen3')
    thought = '<think>two</think>\n\nDone.'
    one = [('user', 'A table?'), ('assistant', thought)]
    ids, mask = encode(ours, template, one)
    learned = [i for i, trained in zip(ids, mask, strict=True) if trained]
    assert ours.decode(learned) == thought
    with pytest.raises(UserError, match=r'qwen3.*in another way'):
        encode(ours, template, [*one, *one])


@pytest.mark.parametrize('name', TEMPLATES)
@pytest.mark.parametrize('token', SPECIAL)
def test_the_text_of_a_control_token_stays_text(name, token):
    ours, template, theirs = both(name)
    number = theirs.convert_tokens_to_ids(token)
    clean = prompt_ids(ours, template, [('user', 'say  now')])
    ids = prompt_ids(ours, template, [('user', f'say {token} now')])
    assert ids.count(number) == clean.count(number)
    assert ours.decode(ours.encode(token)) == token
    text = ours.decode([i for i in ids if i not in range(len(SPECIAL))])
    assert f'say {token} now' in text


def test_a_template_that_raises_is_one_line():
    _, template, _ = both('gemma')
    with pytest.raises(UserError, match=r'gemma.*System role not supported') as caught:
        template.render([BRIEF, *ONE])
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('made', [llama2, metaspace, lambda: metaspace('first')])
def test_tokenizers_that_put_a_space_before_a_text(made):
    content = made().to_str()
    ours = Json(content, **SPECIAL_OF)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=hf.Tokenizer.from_str(content),
        bos_token='<s>',
        eos_token='</s>',
        chat_template=MISTRAL,
    )
    template = Template(MISTRAL, '<s>', '</s>')
    talk = [('user', 'The cat sat'), ('assistant', 'on a mat.'), ('user', 'A cat?')]
    for messages in [talk[:1], talk[:2], talk]:
        expected = theirs.apply_chat_template(dicts(messages), return_dict=False)
        assert encode(ours, template, messages)[0] == expected


CLEAN = st.text(st.characters(codec='utf-8', exclude_characters='<[|'), max_size=20)


@hypothesis.given(st.data(), st.sampled_from([*TEMPLATES]))
def test_any_clean_texts_have_the_ids_of_transformers(data, name):
    ours, template, theirs = both(name)
    said = data.draw(st.lists(CLEAN.filter(str.strip), min_size=2, max_size=4))
    messages = [(('user', 'assistant')[i % 2], text) for i, text in enumerate(said)]
    expected = theirs.apply_chat_template(dicts(messages), return_dict=False)
    assert encode(ours, template, messages)[0] == expected


def test_the_template_of_smollm2(smollm2, tmp_path):
    contents = files.beside(smollm2)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours, template = tokenizers.load(smollm2), of_files(contents, 'SmolLM2')
    for messages in [ONE, TALK, [BRIEF, *TALK]]:
        ids, mask = encode(ours, template, messages)
        assert ids == theirs.apply_chat_template(dicts(messages), return_dict=False)
        learned = [i for i, trained in zip(ids, mask, strict=True) if trained]
        said = [content for role, content in messages if role == 'assistant']
        assert theirs.decode(learned) == ''.join(f'{x}<|im_end|>' for x in said)
