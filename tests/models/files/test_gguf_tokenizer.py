"""The tokenizers of GGUF files, beside the ones they were written from."""

import json
import pathlib

import gguf_files
import pytest
import sentencepiece
import tokenizer_files
import tokenizers as hf

from perl.data import tokenizers
from perl.models.files import gguf_header, gguf_tokenizer
from perl.system.errors import UserError

SHARED = pathlib.Path(__file__).parents[4] / 'shared' / 'data' / 'sentencepiece'
TEXTS = [
    'The cat sat on a mat.',
    '  two  spaces,\n\n lines\tand tabs ',
    'Grüße 日本語 🙂 ﬁ',
    "it's 12345 I'LL",
    'a',
    ' ',
    '',
    'TL;DR: The cat<|im_end|> is',
]


def opened(tmp_path, arch='llama', **said):
    """The `tokenizers` tokenizer of a file, and its tokenizer_config."""
    said = {f'tokenizer.{key.replace("__", ".")}': x for key, x in said.items()}
    file = gguf_files.write(tmp_path / 'x.gguf', arch, said=said)
    files = gguf_tokenizer.tokenizer_files(file, gguf_header.read_header(file))
    made = hf.Tokenizer.from_str(files['tokenizer.json'].decode())
    return made, json.loads(files['tokenizer_config.json']), files


def said_of_model(model):
    """The metadata of a SentencePiece model, as llama.cpp writes them."""
    ids = range(model.vocab_size())
    kinds = [
        2 if model.is_unknown(i)
        else 3 if model.is_control(i)
        else 6 if model.is_byte(i)
        else 5 if model.is_unused(i)
        else 1
        for i in ids
    ]  # fmt: skip
    return {
        'ggml__model': 'llama',
        'ggml__tokens': [model.id_to_piece(i) for i in ids],
        'ggml__scores': [model.get_score(i) for i in ids],
        'ggml__token_type': kinds,
        'ggml__bos_token_id': model.bos_id(),
        'ggml__eos_token_id': model.eos_id(),
        'ggml__unknown_token_id': model.unk_id(),
    }


def same_ids(made, model, texts):
    for text in texts:
        got = made.encode(text, add_special_tokens=False)
        assert got.ids == model.encode(text), text
        assert made.decode(got.ids) == model.decode(model.encode(text))


@pytest.mark.parametrize('space', [True, False])
def test_sentence_piece(tmp_path, space):
    content = tokenizer_files.sentence_piece(
        add_dummy_prefix=space,
        remove_extra_whitespaces=False,
        normalization_rule_name='identity',
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    said = said_of_model(model)
    made, config, _ = opened(tmp_path, **said, ggml__add_space_prefix=space)
    same_ids(made, model, [x for x in TEXTS if x])
    assert (config['bos_token'], config['eos_token']) == ('<s>', '</s>')
    assert config['unk_token'] == '<unk>'
    assert made.encode('a').ids[0] == model.bos_id()


@pytest.mark.parametrize(
    'name',
    [
        'maxtext_tokenizer.mistral-v1',
        'transformers_test_sentencepiece_bpe_with_bytefallback.model',
        'transformers_test_sentencepiece_with_bytefallback.model',
    ],
)
def test_sentence_piece_models_of_others(tmp_path, name):
    if not (SHARED / name).is_file():
        pytest.skip(f'there is no {name} in ../shared')
    model = sentencepiece.SentencePieceProcessor(str(SHARED / name))
    if model.normalize('a  b') != '▁a▁▁b':
        pytest.skip('the model normalises texts, which no GGUF file of it says')
    made, _, _ = opened(tmp_path, **said_of_model(model))
    same_ids(made, model, [x for x in TEXTS if x])


def said_of_json(made, pre, special):
    """The metadata of a byte-level tokenizer, as llama.cpp writes them."""
    settings = json.loads(made.to_str())
    ids = made.get_vocab(True)
    tokens = sorted(ids, key=ids.get)
    merges = [
        x if isinstance(x, str) else ' '.join(x) for x in settings['model']['merges']
    ]
    return {
        'ggml__model': 'gpt2',
        'ggml__pre': pre,
        'ggml__tokens': tokens,
        'ggml__token_type': [3 if x in special else 1 for x in tokens],
        'ggml__merges': merges,
        'ggml__bos_token_id': ids['<s>'],
        'ggml__eos_token_id': ids['</s>'],
        'ggml__padding_token_id': ids['<pad>'],
    }


@pytest.fixture(scope='module')
def byte_level():
    made = tokenizer_files.byte_level(add_prefix_space=False)
    return made, said_of_json(made, 'gpt-2', tokenizer_files.SPECIAL.values())


def test_byte_level(tmp_path, byte_level):
    want, said = byte_level
    made, config, files = opened(tmp_path, **said, chat_template='{{ messages }}')
    for text in TEXTS:
        ids = made.encode(text, add_special_tokens=False).ids
        assert ids == want.encode(text, add_special_tokens=False).ids
        assert made.decode(ids) == text
    assert made.get_vocab(True) == want.get_vocab(True)
    assert config['chat_template'] == '{{ messages }}'
    assert config['add_bos_token'] is False
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'x.gguf').unlink()
    ours = tokenizers.load(tmp_path)
    special = [want.token_to_id(f'{x}') for x in ('<pad>', '<s>', '</s>')]
    assert [ours.pad, ours.bos, ours.eos] == special


def test_a_control_token_of_a_text_stays_text_for_us(tmp_path, byte_level):
    _, said = byte_level
    made, _, files = opened(tmp_path, **said)
    assert made.encode('a</s>', add_special_tokens=False).ids[-1] == made.token_to_id(
        '</s>'
    )
    ours = tokenizers.Json(files['tokenizer.json'].decode(), **tokenizer_files.SPECIAL)
    assert ours.eos not in ours.encode('a</s>')


def test_tokens_that_somebody_defined_stay_whole(tmp_path, byte_level):
    _, said = byte_level
    said = {**said, 'ggml__tokens': [*said['ggml__tokens'], '<think> now']}
    said['ggml__token_type'] = [*said['ggml__token_type'], 4]
    made, _, _ = opened(tmp_path, **said)
    last = len(said['ggml__tokens']) - 1
    assert last in made.encode('a<think> nowb', add_special_tokens=False).ids
    assert made.decode([last], skip_special_tokens=True) == '<think> now'


def test_rows_without_a_token_are_left_out(tmp_path, byte_level):
    want, said = byte_level
    size = len(said['ggml__tokens'])
    more = [f'[PAD{size + i}]' for i in range(5)]
    said = {**said, 'ggml__tokens': [*said['ggml__tokens'], *more]}
    said['ggml__token_type'] = [*said['ggml__token_type'], *[5] * 5]
    made, _, _ = opened(tmp_path, **said)
    assert made.get_vocab_size(True) == want.get_vocab_size(True)


@pytest.mark.parametrize('bos', [True, False, None])
@pytest.mark.parametrize(('pre', 'default'), [('gpt-2', False), ('llama-bpe', True)])
def test_whether_a_text_begins_with_bos(tmp_path, byte_level, bos, pre, default):
    _, said = byte_level
    said = {**said, 'ggml__pre': pre}
    if bos is not None:
        said['ggml__add_bos_token'] = bos
    made, config, _ = opened(tmp_path, **said)
    wanted = default if bos is None else bos
    begins = made.encode('cat').ids[0] == made.token_to_id('<s>')
    assert begins == wanted == config['add_bos_token']


@pytest.mark.parametrize(
    ('pre', 'words'),
    [
        ('gpt-2', ['I', "'LL", 'Ġpay', 'Ġ1234', '.']),
        ('smollm', ['I', "'LL", 'Ġpay', 'Ġ', '1', '2', '3', '4', '.']),
        ('llama-bpe', ['I', "'LL", 'Ġpay', 'Ġ', '123', '4', '.']),
        ('qwen2', ['I', "'LL", 'Ġpay', 'Ġ', '1', '2', '3', '4', '.']),
        ('tekken', ['I', "'LL", 'Ġpay', 'Ġ', '1', '2', '3', '4', '.']),
    ],
)
def test_how_words_are_cut(tmp_path, byte_level, pre, words):
    _, said = byte_level
    made, _, _ = opened(tmp_path, **{**said, 'ggml__pre': pre})
    text = "I'LL pay 1234."
    found = [x for x, _ in made.pre_tokenizer.pre_tokenize_str(text)]
    if pre == 'gpt-2':  # knows the endings in small letters only
        words = ['I', "'", 'LL', *words[2:]]
    if pre == 'smollm':
        words = ['I', "'", 'LL', *words[2:]]
    assert found == words


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'ggml__model': 'bert'}, "a tokenizer of the kind 'bert', not gpt2 or llama"),
        (
            {'ggml__pre': 'qwen3'},
            "its tokenizer.ggml.pre 'qwen3'; did you mean 'qwen2'",
        ),
        ({'ggml__tokens': ['a']}, 'has 1 tokens, 306 kinds and 0 scores'),
        ({'ggml__merges': ['a']}, "its merge 'a' is not of two of its tokens"),
        ({'ggml__merges': ['a zzz']}, "its merge 'a zzz' is not of two"),
        ({'ggml__eos_token_id': 320}, 'its eos_token_id 320 is not one of its 306'),
    ],
)
def test_what_is_refused(tmp_path, byte_level, change, said):
    _, values = byte_level
    with pytest.raises(UserError, match=said):
        opened(tmp_path, **{**values, **change})


def test_no_tokenizer(tmp_path):
    with pytest.raises(UserError, match='has no tokenizer; set tokenizer'):
        opened(tmp_path, ggml__model='gpt2')


def test_a_tokenizer_that_normalises(tmp_path):
    said = {'ggml__model': 'llama', 'ggml__tokens': ['<unk>', 'a']}
    with pytest.raises(UserError, match='normalises texts, which is not supported'):
        opened(tmp_path, **said, ggml__remove_extra_whitespaces=True)
