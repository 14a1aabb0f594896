"""Records to ids: what is cut is counted, what cannot be learnt from is refused."""

import numpy as np
import pytest
import tokenizer_files

from perl.data import Comparison, Demonstration, Rating, collate, encode, pack, survey
from perl.data.chat import Chat, ChatTokenizer, Template
from perl.data.counts import COUNTS
from perl.data.tokenizers import Bytes, Json, Llama2c, SentencePiece
from perl.system.errors import UserError

BYTES = Bytes()


def ids(text):
    return [3 + byte for byte in text.encode()]


def test_ratings_that_contradict_each_other_once_cut_are_counted():
    ratings = [
        Rating('p', 'abcdX', 1.0),
        Rating('p', 'abcdY', 0.0),  # other text and label, the same four tokens
        Rating('p', 'abcdZ', 1.0),  # the label agrees
        Rating('p', 'abcdX', 0.0),  # two people on one text
        Rating('q', 'abcdY', 0.0),  # another prompt
    ]
    examples, counts = encode(ratings, BYTES, 8, 4)
    assert len(examples) == 5 and counts['equal_after_cut'] == 1
    assert encode(ratings, BYTES, 8, 9)[1]['equal_after_cut'] == 0


def test_bos_first_and_eos_last():
    examples, counts = encode([Demonstration('ab', 'c')], BYTES, 8, 8)
    assert examples.prompts[0].tolist() == [1, *ids('ab')]
    assert examples.completions[0][0].tolist() == [*ids('c'), 2]
    assert examples.prompts[0].dtype == examples.completions[0][0].dtype == np.int32
    assert counts['examples'] == 1 and counts['prompts_cut'] == 0
    assert (counts['prompt_tokens'], counts['response_tokens']) == (3, 2)


def test_prompts_lose_their_start_and_responses_their_end():
    examples, counts = encode([Demonstration('abcdef', 'uvwxyz')], BYTES, 4, 5)
    assert examples.prompts[0].tolist() == [1, *ids('def')]
    assert examples.completions[0][0].tolist() == ids('uvwxy')
    assert counts['prompts_cut'] == counts['responses_cut'] == 1
    assert counts['prompt_tokens_cut'] == 3
    assert counts['response_tokens_cut'] == 2


def test_what_just_fits_is_whole():
    _, counts = encode([Demonstration('abc', 'wxyz')], BYTES, 4, 5)
    assert counts['prompts_cut'] == counts['responses_cut'] == 0


@pytest.mark.parametrize(
    ('records', 'completions', 'labels'),
    [
        (['p', 'q'], 0, [1, 1]),
        ([Demonstration('p', 'r')], 1, [1]),
        ([Rating('p', 'r', 0.25), Rating('p', 's', 1.0)], 1, [0.25, 1]),
        ([Comparison('p', ('a', 'b', 'c'))], 3, [1]),
    ],
)
def test_kinds(records, completions, labels):
    examples, _ = encode(records, BYTES, 8, 8)
    assert {len(row) for row in examples.completions} == {completions}
    assert examples.labels.dtype == np.float32
    assert examples.labels.tolist() == labels
    assert len(examples) == len(records)


def test_mean_lengths():
    records = [Comparison('ab', ('c', 'defg')), Comparison('', ('c', 'd'))]
    examples, _ = encode(records, BYTES, 8, 8)
    assert examples.mean_lengths == (2, (2 + 5 + 2 + 2) / 4)


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (Demonstration('p', ''), 'row 2: completion 1 is empty'),
        (Rating('p', ' \n', 1.0), 'row 2: completion 1 is empty'),
        (Rating('p', 'r', 2.0), r'row 2: the label 2.0'),
        (Rating('p', 'r', float('nan')), 'row 2: the label nan'),
        (Comparison('p', ('a',)), 'row 2: a comparison needs two'),
        (Comparison('p', ('a', 'b')), 'row 2 is a Comparison, row 1 a Demonstration'),
        ('p', 'row 2 is a str, row 1 a Demonstration'),
    ],
)
def test_bad_rows(bad, message):
    with pytest.raises(UserError, match=message):
        encode([Demonstration('p', 'r'), bad], BYTES, 8, 8)


def test_a_prompt_begins_the_text_and_a_response_continues_it():
    tokenizer = Llama2c(tokenizer_files.llama2c())
    examples, _ = encode([Demonstration('cat', ' cat')], tokenizer, 8, 8)
    cat = 259 + 6
    assert examples.prompts[0].tolist() == [tokenizer.bos, cat]
    assert examples.completions[0][0].tolist() == [cat, tokenizer.eos]


def test_a_prompt_has_no_bos_where_its_tokenizer_adds_none():
    """As the tokenizer of SmolLM2 and Qwen: what is trained here is used elsewhere."""
    text = tokenizer_files.byte_level(add_prefix_space=False).to_str()
    tokenizer = Json(text, **tokenizer_files.SPECIAL, adds_bos=None)
    ids = tokenizer.encode('The cat sat')
    rows = [Demonstration(x, ' on') for x in ('The cat sat', '')]
    examples, counts = encode(rows, tokenizer, len(ids), 8)
    assert [x.tolist() for x in examples.prompts] == [ids, [tokenizer.bos]]
    assert counts['prompts_cut'] == 0
    cut, counts = encode(rows, tokenizer, len(ids) - 1, 8)
    assert cut.prompts[0].tolist() == ids[1:] and counts['prompt_tokens_cut'] == 1
    packed = pack(['The cat sat'], tokenizer, 32)
    assert packed['tokens'][0, : len(ids) + 1].tolist() == [*ids, tokenizer.eos]


@pytest.mark.parametrize(
    ('prompt', 'response'), [('TL;DR:', ' A short one.'), ('', 'Once'), ('a ', ' b')]
)
def test_examples_decode_to_the_running_text(prompt, response):
    for tokenizer in (
        Llama2c(tokenizer_files.llama2c()),
        SentencePiece(tokenizer_files.sentence_piece()),
        Json(tokenizer_files.llama2().to_str(), **tokenizer_files.SPECIAL),
        BYTES,
    ):
        examples, _ = encode([Demonstration(prompt, response)], tokenizer, 64, 64)
        ids = [*examples.prompts[0].tolist(), *examples.completions[0][0].tolist()]
        assert tokenizer.decode(ids) == prompt + response


def test_all_is_counted():
    rows = [Comparison('abcdef', ('uvwxyz', 'u')), Comparison('a', ('u', 'v', 'w'))]
    _, counts = encode(rows, BYTES, 4, 5)
    assert counts == {
        'examples': 2,
        'responses': 5,
        'prompt_tokens': 6,
        'response_tokens': 13,
        'prompts_cut': 1,
        'prompt_tokens_cut': 3,
        'responses_cut': 1,
        'response_tokens_cut': 2,
        'unknown_tokens': 0,
        'boundary_merges': 0,
        'equal_completions': 0,
        'equal_after_cut': 0,
        'dropped': 0,
    }
    assert counts.keys() == COUNTS.keys()


def test_pairs_that_are_equal_once_cut_are_dropped():
    rows = [
        Comparison('p', ('aaaax', 'aaaay'), margin=1.0),
        Comparison('p', ('a', 'b'), margin=2.0, preference=0.75),
        Comparison('p', ('same', 'same')),
        Comparison('p', ('aaaa', 'aaaab')),  # the first loses its end alone
    ]
    examples, counts = encode(rows, BYTES, 8, 4)
    assert (counts['examples'], counts['responses'], counts['dropped']) == (1, 2, 3)
    assert (counts['equal_after_cut'], counts['equal_completions']) == (2, 1)
    assert counts['responses_cut'] == 0, 'of what is left nothing is cut'
    assert examples.rows.tolist() == [1] and examples.rows.dtype == np.int64
    assert examples.select(rows) == [rows[1]]
    assert examples.margins.tolist() == [2] and examples.preferences.tolist() == [0.75]
    assert len(examples) == len(examples.labels) == 1


def test_equal_completions_of_a_ranking_are_left_out():
    rows = [
        Comparison('p', ('b', 'aaaax', 'aaaay', 'c')),
        Comparison('p', ('aaaax', 'aaaay', 'aaaax')),
        Comparison('p', ('a', 'b')),
    ]
    examples, counts = encode(rows, BYTES, 8, 4)
    assert examples.completion_counts.tolist() == [3, 2]
    first = [ids.tolist() for ids in examples.completions[0]]
    assert first == [[*ids('b'), 2], ids('aaaa'), [*ids('c'), 2]]
    assert examples.rows.tolist() == [0, 2]
    assert (counts['equal_after_cut'], counts['equal_completions']) == (2, 1)
    assert counts['dropped'] == 1


@pytest.mark.parametrize(
    ('completions', 'message'),
    [
        (
            ('aaaax', 'aaaay'),
            '40 of 40 .* 40 of them only after cutting.*lengths.response',
        ),
        (('same', 'same'), '40 of 40 .* 0 of them only after cutting.*that differ'),
    ],
)
def test_a_split_of_equal_completions_is_an_error(completions, message):
    with pytest.raises(UserError, match=message):
        encode([Comparison('p', completions)] * 40, BYTES, 8, 4)


def test_unknown_characters_are_counted():
    model = tokenizer_files.metaspace(byte_fallback=False, unk=None)
    tokenizer = Json(model.to_str(), **tokenizer_files.SPECIAL)
    rows = [Demonstration('The 猫', ' sat 犬犬'), Demonstration('The', ' cat')]
    _, counts = encode(rows, tokenizer, 64, 64)
    assert counts['unknown_tokens'] == 3
    with pytest.raises(UserError, match='row 2: the tokenizer knows no character'):
        encode([*rows[:1], Demonstration('The', '猫')], tokenizer, 64, 64)


def test_tokens_that_reach_over_the_end_of_a_prompt_are_counted():
    tokenizer = Llama2c(tokenizer_files.llama2c())
    rows = [
        Demonstration('a c', 'at'),  # ' cat' in the running text
        Demonstration('a', ' cat'),
        Demonstration('', 'cat'),
        Demonstration('cat ' * 60, 'cat'),
    ]
    _, counts = encode(rows, tokenizer, 512, 64)
    assert counts['boundary_merges'] == 2
    assert survey.words(counts).endswith('boundary merges 2')
    _, counts = encode(rows[:1], tokenizer, 512, 64)
    assert (
        '1 of 1 responses join the end of their prompt in one token: begin the '
        "response with the space that is between them, as the template ' {response}'"
    ) in survey.words(counts)
    _, counts = encode(rows, BYTES, 512, 64)
    assert counts['boundary_merges'] == 0


def test_lengths_without_room():
    with pytest.raises(UserError, match='max_response 0'):
        encode([Demonstration('p', 'r')], BYTES, 8, 0)


def test_messages_are_rendered_cut_and_learned_by_turns():
    template = Template(
        '{% for m in messages %}<s>{{ m.role[0] }}{{ m.content }}</s>{% endfor %}'
        '{% if add_generation_prompt %}<s>a{% endif %}'
    )
    chats = ChatTokenizer(BYTES, template, (2,))
    asked = Chat([('user', 'qrs')])
    turns = Chat([('assistant', 'b'), ('user', 'c'), ('assistant', 'd')])
    rows = [Demonstration(asked, turns), Demonstration(asked, 'b')]
    examples, counts = encode(rows, chats, 9, 9)
    head = [1, *ids('uqrs'), 2, 1, *ids('a')]
    assert examples.prompts[0].tolist() == [head[0], *head[1:]]
    whole = [*ids('b'), 2, 1, *ids('uc'), 2, 1, *ids('ad'), 2]
    assert examples.completions[0][0].tolist() == whole[:9]
    mask = [True] * 2 + [False] * 6 + [True]
    assert examples.masks[0][0].tolist() == mask
    assert examples.completions[1][0].tolist() == [*ids('b'), 2]
    assert counts['responses_cut'] == 1 and counts['response_tokens_cut'] == 1
    batch = collate(examples, [0, 1], multiple=4)
    assert batch['completion'][0, 8:17].tolist() == mask
    assert batch['completion'].sum() == 3 + 2
    cut, counts = encode(rows, chats, 5, 9)
    assert cut.prompts[0].tolist() == [1, *head[-4:]]
    assert counts['prompts_cut'] == 2 and counts['prompt_tokens_cut'] == 6
    with pytest.raises(UserError, match=r'row 1: there are messages, but .* template'):
        encode(rows, BYTES, 9, 9)


def test_tokens_over_the_start_of_an_answer_are_counted():
    template = Template('<s>{{ messages[0].content }}\n{% for m in messages[1:] %}'
                        '{{ m.content }}</s>{% endfor %}')  # fmt: skip
    pieces = Llama2c(tokenizer_files.llama2c(('\n', '\n\n')), leading_space=False)
    chats, asked = ChatTokenizer(pieces, template, (2,)), Chat([('user', 'q')])
    for answer, merges in (('a', 0), ('\na', 1)):
        _, counts = encode([Demonstration(asked, answer)], chats, 9, 9)
        assert counts['boundary_merges'] == merges


TURNS = (('system', 'S'), ('user', 'one'), ('assistant', 'A'), ('user', 'two'))
TURNS += (('tool', 'T'), ('assistant', 'B'), ('user', 'three'))
WHOLE = '<sS><uone><aA><utwo><tT><aB><uthree><a'


@pytest.mark.parametrize(
    ('first', 'limit', 'kept'),
    [
        (0, 38, WHOLE),
        (0, 37, '<sS><utwo><tT><aB><uthree><a'),
        (0, 27, '<sS><uthree><a'),
        (0, 14, '<sS><uthree><a'),
        (0, 8, '<hree><a'),  # the last exchange alone is too long
        (0, 1, '<'),
        (1, 34, WHOLE.removeprefix('<sS>')),
        (1, 33, '<utwo><tT><aB><uthree><a'),
        (1, 23, '<uthree><a'),
    ],
)
def test_a_long_conversation_loses_its_oldest_exchanges(first, limit, kept):
    """And keeps the system prompt, so that what is left is a conversation."""
    template = Template(
        '{% for m in messages %}<{{ m.role[0] }}{{ m.content }}>{% endfor %}'
        '{% if add_generation_prompt %}<a{% endif %}'
    )
    chats = ChatTokenizer(Bytes(), template, (2,))
    examples, counts = encode([Chat(TURNS[first:])], chats, limit, 9)
    assert Bytes().decode(examples.prompts[0]) == kept
    lost = len(WHOLE) - 4 * first - len(kept)
    assert counts['prompt_tokens_cut'] == lost
    assert counts['prompts_cut'] == (lost > 0)
