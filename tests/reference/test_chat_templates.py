"""Chat templates beside `apply_chat_template` of transformers: ids and masks."""

import json

import pytest
import tokenizer_files
import tokenizers as hf

from perl.data import chat
from perl.data.chat import Template
from perl.data.parts import response_part
from perl.data.tokenizers import Json, load
from perl.models.files import beside

transformers = pytest.importorskip('transformers')

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}{% set text = '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' %}"
    '{% if loop.index0 == 0 %}{% set text = bos_token + text %}{% endif %}'
    '{{ text }}{% endfor %}{% if add_generation_prompt %}'
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}"
    '{% endfor %}{% if add_generation_prompt %}'
    "{{ '<start_of_turn>model\\n' }}{% endif %}"
)
# thoughts of turns before the last question are dropped, an empty one is added after it
QWEN3 = (
    '{%- set ns = namespace(last=0) %}{%- for m in messages %}'
    "{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}"
    '{%- endfor %}'
    '{%- for m in messages %}{%- set content = m.content %}'
    "{%- if m.role == 'assistant' %}{%- set thought = '' %}"
    "{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].split('<think>')[-1] %}"
    "{%- set thought = thought.strip('\\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    '{%- if loop.index0 > ns.last %}'
    "{{- '<|im_start|>assistant\\n<think>\\n' + thought }}"
    "{{- '\\n</think>\\n\\n' + content }}"
    "{%- else %}{{- '<|im_start|>assistant\\n' + content }}{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}"
    '{%- endif %}{%- endfor %}'
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + '[/INST]' }}{% elif m['role'] == 'assistant' %}"
    "{{ ' ' + m['content'] + eos_token }}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}"
    '{% endif %}{% endfor %}'
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + "
    "'<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}\n{{ '<|' + m['role'] + '|>\\n' + m['content'] }}"
    '{{ eos_token }}\n{% if loop.last and add_generation_prompt %}\n'
    "{{ '<|assistant|>' }}\n{% endif %}"
    '\n{% endfor %}'
)
MARKED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\\n' }}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{{ '\\n' }}{% else %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    '{% endif %}{% endfor %}'
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# a block of SmolLM 3 holds what begins a turn, and the line end after it
WIDE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '<|im_start|>assistant\\n' + m['content'].lstrip('\\n') + '<|im_end|>\\n' }}"
    '{% endgeneration %}{% else %}'
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    '{% endif %}{% endfor %}'
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# template, whether it takes a system prompt, the token that ends a turn
TEMPLATES = {
    'chatml': (CHATML, True, '<|im_end|>'),
    'llama3': (LLAMA3, True, '<|eot_id|>'),
    'gemma': (GEMMA, False, '<end_of_turn>'),
    'qwen3': (QWEN3, True, '<|im_end|>'),
    'mistral': (MISTRAL, False, '</s>'),
    'phi3': (PHI3, True, '<|end|>'),
    'zephyr': (ZEPHYR, True, '</s>'),
    'marked': (MARKED, True, '<|im_end|>'),
}
CONTROLS = (
    *('<|im_start|>', '<|im_end|>', '<|start_header_id|>', '<|end_header_id|>'),
    *('<|eot_id|>', '<start_of_turn>', '<end_of_turn>', '[INST]', '[/INST]'),
)
STRIPPING = ('<|system|>', '<|user|>', '<|assistant|>', '<|end|>')  # Phi-3
TURNS = [
    ('user', 'The cat sat.\n\nOn a mat?'),
    ('assistant', 'a time, on a mat.\n'),
    ('user', ' a cat '),
    ('assistant', 'cats: é ﬁ 猫'),
]
SYSTEM = ('system', 'Be short.')


def byte_level():
    return tokenizer_files.byte_level(add_prefix_space=False)


def metaspace_first():
    return tokenizer_files.metaspace('first')


@pytest.fixture(
    params=[
        *(byte_level, tokenizer_files.byte_level, tokenizer_files.llama2),
        *(metaspace_first, tokenizer_files.metaspace),
    ]
)
def pair(request):
    """The same tokenizer here and in transformers, with control tokens added."""
    made = request.param()
    made.add_special_tokens([hf.AddedToken(x, special=True) for x in CONTROLS])
    made.add_special_tokens(
        [hf.AddedToken(x, special=True, rstrip=True) for x in STRIPPING]
    )
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token='<s>', eos_token='</s>', pad_token='<pad>'
    )
    return Json(made.to_str(), **tokenizer_files.SPECIAL), theirs


def rows(messages):
    return [{'role': role, 'content': content} for role, content in messages]


def theirs_of(tokenizer, template, messages, **options):
    return tokenizer.apply_chat_template(
        rows(messages), chat_template=template, return_dict=True, **options
    )


@pytest.mark.parametrize('name', TEMPLATES)
def test_ids_are_those_of_transformers(pair, name):
    ours, theirs = pair
    source, system, end = TEMPLATES[name]
    template = Template(source, '<s>', '</s>')
    # a template that changes earlier turns has one answer to learn
    turns = TURNS[:2] if name == 'qwen3' else TURNS
    messages = [SYSTEM, *turns] if system else turns
    want = theirs_of(theirs, source, messages)['input_ids']
    ids, mask = chat.encode(ours, template, messages)
    assert ids == want
    learned = [i for i, yes in zip(ids, mask, strict=True) if yes]
    assert learned.count(theirs.convert_tokens_to_ids(end)) == len(turns) // 2
    assert chat.end_of_turn(ours, template) == theirs.convert_tokens_to_ids(end)
    asked = messages[:-1]
    want = theirs_of(theirs, source, asked, add_generation_prompt=True)['input_ids']
    assert chat.prompt_ids(ours, template, asked) == want


def test_the_mask_of_generation_blocks_is_that_of_transformers(pair):
    ours, theirs = pair
    options = {'return_assistant_tokens_mask': True}
    messages = [SYSTEM, *TURNS]
    want = theirs_of(theirs, MARKED, messages, **options)
    for source in (MARKED, CHATML):  # blocks, and prefixes of the same text
        ids, mask = chat.encode(ours, Template(source), messages)
        assert ids == want['input_ids']
        assert mask == [x == 1 for x in want['assistant_masks']]


def test_a_block_that_holds_more_than_a_turn(pair):
    """Its mask is that of transformers; a response is what the policy says."""
    ours, theirs = pair
    template, end = Template(WIDE), theirs.convert_tokens_to_ids('<|im_end|>')
    options = {'return_assistant_tokens_mask': True}
    want = theirs_of(theirs, WIDE, [SYSTEM, *TURNS], **options)
    ids, mask = chat.encode(ours, template, [SYSTEM, *TURNS])
    assert ids == want['input_ids']
    if not ours.space_everywhere:  # transformers loses a space that it adds itself
        assert mask == [x == 1 for x in want['assistant_masks']]
    assert chat.end_of_turn(ours, template) == end
    whole = chat.ChatTokenizer(ours, template, (end,))
    prompt, answer = chat.Chat([SYSTEM, *TURNS[:3]]), TURNS[3][1]
    part = response_part(prompt, answer, whole, 99)
    asked = chat.prompt_ids(ours, template, prompt.messages)
    assert part.tokens[-1] == end and part.tokens.count(end) == 1 and all(part.mask)
    assert ids[: len(asked) + len(part.tokens)] == [*asked, *part.tokens]


@pytest.mark.parametrize('name', TEMPLATES)
def test_renderings_are_those_of_transformers(pair, name):
    _, theirs = pair
    source, system, _ = TEMPLATES[name]
    messages = [SYSTEM, *TURNS] if system else TURNS
    template = Template(source, '<s>', '</s>')
    for asked in (False, True):
        want = theirs.apply_chat_template(
            rows(messages),
            chat_template=source,
            tokenize=False,
            add_generation_prompt=asked,
        )
        assert template.render(messages, asked) == want


def test_smollm2(smollm2):
    """The template and the tokenizer in the GGUF file."""
    files = beside(smollm2)
    config = json.loads(files['tokenizer_config.json'])
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=hf.Tokenizer.from_str(files['tokenizer.json'].decode()),
        eos_token=config['eos_token'],
        bos_token=config['bos_token'],
    )
    ours, template = load(smollm2), chat.of_files(files, str(smollm2))
    for messages in (TURNS, [SYSTEM, *TURNS]):
        ids, mask = chat.encode(ours, template, messages)
        assert ids == theirs_of(theirs, template.source, messages)['input_ids']
        said = theirs.decode([i for i, yes in zip(ids, mask, strict=True) if yes])
        assert said == 'a time, on a mat.\n<|im_end|>cats: é ﬁ 猫<|im_end|>'
    assert chat.end_of_turn(ours, template) == ours.eos
