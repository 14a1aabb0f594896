"""Ids of conversations, by hand: bytes are 3 + byte, <s> is 1, </s> is 2."""

import json

import pytest
import tokenizer_files
import tokenizers as hf
from hypothesis import given
from hypothesis import strategies as st

from perl.data import chat
from perl.data.chat import Template
from perl.data.parts import response_part
from perl.data.tokenizers import Bytes, Json
from perl.system.errors import UserError

PLAIN = Template(
    '{% for m in messages %}<s>{{ m.role[0] }}{{ m.content }}</s>\n'
    '{% endfor %}{% if add_generation_prompt %}<s>a{% endif %}'
)
TRIMMED = Template(PLAIN.source.replace('m.content', 'm.content | trim'))
BYTES = Bytes()


def ids(text):
    return [3 + byte for byte in text.encode()]


def test_by_hand():
    found, mask = chat.encode(BYTES, PLAIN, [('user', 'hi'), ('assistant', 'yo')])
    assert found == [1, *ids('uhi'), 2, *ids('\n'), 1, *ids('ayo'), 2, *ids('\n')]
    learned = [i for i, yes in zip(found, mask, strict=True) if yes]
    assert learned == [*ids('yo'), 2] and mask[-1] is False
    assert chat.prompt_ids(BYTES, PLAIN, [('user', 'hi')]) == found[:8]
    assert chat.end_of_turn(BYTES, PLAIN) == 2


@pytest.mark.parametrize('block', ['{{ m.content }}</s>\n', '{{ m.content }}</s><s>'])
def test_a_response_ends_where_the_policy_stops_whatever_a_block_holds(block):
    said = f'{{% generation %}}{block}{{% endgeneration %}}'
    template = Template(
        "{% for m in messages %}{{ m.role[0] }}{% if m.role == 'assistant' %}"
        f'{said}{{% else %}}{{{{ m.content }}}}{{% endif %}}{{% endfor %}}'
        '{% if add_generation_prompt %}a{% endif %}'
    )
    assert chat.end_of_turn(BYTES, template) == 2
    ours = chat.ChatTokenizer(BYTES, template, (2,))
    part = response_part(chat.Chat([('user', 'hi')]), 'yo', ours, 9)
    assert part.tokens == [*ids('yo'), 2]
    assert part.mask == [True, True, True] and part.cut == 0


def test_the_end_of_a_turn_is_known_where_turns_are_not():
    """The prompt of a model that thinks begins its answer, and the template leaves the
    thought out of a whole conversation."""
    template = Template(
        f'{PLAIN.source}{{% if add_generation_prompt %}}<t>{{% endif %}}'
    )
    assert chat.end_of_turn(BYTES, template) == 2
    with pytest.raises(UserError, match='in another way'):
        chat.encode(BYTES, template, [('user', 'hi'), ('assistant', 'yo')])
    with pytest.raises(UserError, match='no special token'):
        chat.end_of_turn(
            BYTES, Template('{% for m in messages %}{{ m.content }}{% endfor %}')
        )


texts = st.lists(
    st.sampled_from(['<s>', '</s>', 'a', ' ', '\n', 'é', '\ufdd0', '<', '>'])
).map(''.join)


@given(st.lists(texts, min_size=1, max_size=3), st.sampled_from([PLAIN, TRIMMED]))
def test_a_users_text_never_becomes_a_control_token(contents, template):
    messages = [('user' if n % 2 == 0 else 'system', x) for n, x in enumerate(contents)]
    found = chat.prompt_ids(BYTES, template, messages)
    assert found.count(1) == len(contents) + 1 and found.count(2) == len(contents)
    kept = [x.strip() if template is TRIMMED else x for x in contents]
    turns = [f'{role[0]}{text}' for (role, _), text in zip(messages, kept, strict=True)]
    assert BYTES.decode(found) == '\n'.join([*turns, 'a'])


def test_the_text_of_a_control_token_is_the_text_that_it_is_elsewhere():
    made = tokenizer_files.byte_level(False)
    made.add_special_tokens([hf.AddedToken('<|end|>', special=True)])
    ours = Json(made.to_str(), **tokenizer_files.SPECIAL)
    template = Template('{{ messages[0].content }}<|end|>')
    text = 'a <|end|> cat'
    end = made.token_to_id('<|end|>')
    assert chat.prompt_ids(ours, template, [('user', text)]) == [
        *ours.encode(text),
        end,
    ]
    assert end not in ours.encode(text) and json.loads(made.to_str())['added_tokens']


@pytest.mark.parametrize('many', [1, 2, 3])
def test_prompt_and_learned_tokens_are_the_whole(many):
    turns = [('user', 'a'), ('assistant', 'b')] * many
    found, mask = chat.encode(BYTES, PLAIN, turns)
    assert sum(mask) == 2 * many
    for n in range(many):
        head = chat.prompt_ids(BYTES, PLAIN, turns[: 2 * n + 1])
        assert found[: len(head)] == head and mask[len(head)]
