"""Every tokenizer gives the text back, and text can never become a special token."""

import hashlib
import json
import re

import pytest
import sentencepiece
import tokenizer_files
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data import tokenizers
from perl.data.tokenizers import Bytes, Json, Llama2c, SentencePiece
from perl.system.errors import UserError

CORPUS = [
    'Could I book a table for four on Friday?\nOf course: a table. Thank you!',
    'agent: [get_menu_items query=espresso]\napi: items=(name=Espresso)',
] * 20
# U+2581 is how SentencePiece writes a space.
TEXT = st.text(st.characters(codec='utf-8', exclude_characters='▁'))
PIECES = tokenizers.train_sentencepiece(CORPUS, 320)


def json_tokenizer(**special):
    model = hf.Tokenizer(hf.models.BPE())
    model.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=['<pad>', '<s>', '</s>'],
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
    )
    model.train_from_iterator(CORPUS, trainer)
    names = {'pad': '<pad>', 'bos': '<s>', 'eos': '</s>', **special}
    return Json(model.to_str(), **names)


EXACT = {'bytes': Bytes(), 'sentencepiece': PIECES, 'json': json_tokenizer()}


@pytest.mark.parametrize('kind', EXACT)
@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_roundtrip(kind, text):
    tokenizer = EXACT[kind]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.size for i in ids)
    assert not {tokenizer.bos, tokenizer.eos, tokenizer.pad} & set(ids)
    framed = [tokenizer.bos, *ids, tokenizer.eos, tokenizer.pad]
    assert tokenizer.decode(framed) == text


@pytest.mark.parametrize('kind', EXACT)
@pytest.mark.parametrize('text', ['<s>', '</s>', '<pad>', 'a</s>b', '<unk>', '<0x41>'])
def test_text_never_becomes_special(kind, text):
    tokenizer = EXACT[kind]
    special = {tokenizer.pad, tokenizer.bos, tokenizer.eos}
    assert not special & set(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT)
def test_prompt_and_response_tokenize_apart(prompt, response):
    prompt += '\n'
    together = PIECES.encode(prompt + response)
    assert PIECES.encode(prompt) + PIECES.encode(response) == together


def test_cue_and_response_tokenize_apart():
    prompt, response = CORPUS[1].split('agent:')[0] + 'agent:', ' [get_menu_items]'
    apart = PIECES.encode(prompt) + PIECES.encode(response)
    assert apart == PIECES.encode(prompt + response)


def test_training_is_deterministic():
    assert tokenizers.train_sentencepiece(CORPUS, 320).fingerprint == PIECES.fingerprint
    other = tokenizers.train_sentencepiece(CORPUS, 310)
    assert other.fingerprint != PIECES.fingerprint
    assert (PIECES.pad, PIECES.bos, PIECES.eos, PIECES.size) == (0, 1, 2, 320)


def test_unigram_without_bytes():
    tokenizer = tokenizers.train_sentencepiece(CORPUS, 60, 'unigram', False)
    assert tokenizer.decode(tokenizer.encode(CORPUS[0])) == CORPUS[0]
    assert tokenizer.size <= 60


@pytest.mark.parametrize('kind', EXACT)
def test_save_and_load(kind, tmp_path):
    tokenizer = EXACT[kind]
    tokenizer.save(tmp_path / 'new' / 'folder')
    loaded = tokenizers.load(tmp_path / 'new' / 'folder')
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])
    assert len(loaded.fingerprint) == 16


def test_load_bytes_by_name():
    assert tokenizers.load('bytes') == Bytes()
    assert Bytes().encode('é') == [3 + 0xC3, 3 + 0xA9]


def test_json_beside_its_config(tmp_path):
    EXACT['json'].save(tmp_path)
    (tmp_path / 'tokenizer.meta.json').unlink()
    with pytest.raises(UserError, match='tokenizer_config'):
        tokenizers.load(tmp_path)
    config = {'eos_token': {'content': '</s>'}, 'bos_token': '<s>', 'pad_token': None}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    loaded = tokenizers.load(tmp_path)
    assert loaded.pad == loaded.eos == EXACT['json'].eos
    assert loaded.bos == EXACT['json'].bos


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        ('[]', 'not a JSON object'),
        ('{"eos_token": 3}', 'eos_token is 3, not text'),
        ('{"eos_token": {"id": 3}}', 'its end-of-sequence token is unknown'),
    ],
)
def test_a_config_that_is_none(tmp_path, said, message):
    EXACT['json'].save(tmp_path)
    (tmp_path / 'tokenizer.meta.json').unlink()
    (tmp_path / 'tokenizer_config.json').write_text(said)
    with pytest.raises(UserError, match=message):
        tokenizers.load(tmp_path)


def test_what_a_json_says_of_cuts_and_padding_is_not_heeded(tmp_path):
    long = CORPUS[0] * 9
    made = EXACT['json']._tokenizer.to_str()
    model = hf.Tokenizer.from_str(made)
    model.enable_truncation(8)
    model.enable_padding(length=16)
    tokenizer = Json(model.to_str(), pad='<pad>', bos='<s>', eos='</s>')
    assert tokenizer.decode(tokenizer.encode(long)) == long
    assert tokenizer.encode('hi') == EXACT['json'].encode('hi')
    tokenizer.save(tmp_path)
    assert tokenizers.load(tmp_path).encode(long) == tokenizer.encode(long)


class TestFolderOfAnotherProject:
    """A folder with a tokenizer.json and a tokenizer.model of one vocabulary."""

    @pytest.fixture
    def folder(self, tmp_path):
        model = tokenizer_files.sentence_piece()
        (tmp_path / 'tokenizer.model').write_bytes(model)
        config = {'eos_token': '</s>', 'bos_token': '<s>', 'pad_token': '<pad>'}
        (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
        return tmp_path

    def test_an_exact_json_is_taken(self, folder):
        (folder / 'tokenizer.json').write_text(tokenizer_files.llama2().to_str())
        assert isinstance(tokenizers.load(folder), Json)

    def test_the_model_is_taken_where_the_json_changes_texts(self, folder):
        inexact = tokenizer_files.llama2()
        steps = [hf.normalizers.NFKC(), *inexact.normalizer]
        inexact.normalizer = hf.normalizers.Sequence(steps)
        (folder / 'tokenizer.json').write_text(inexact.to_str())
        tokenizer = tokenizers.load(folder)
        assert isinstance(tokenizer, SentencePiece)
        parts = tokenizer.encode('ﬁ ') + tokenizer.encode(' ²')
        assert tokenizer.decode(parts) == 'ﬁ  ²'

    def test_the_model_is_taken_where_nothing_names_the_end(self, folder):
        (folder / 'tokenizer.json').write_text(tokenizer_files.llama2().to_str())
        (folder / 'tokenizer_config.json').write_text('{}')
        assert isinstance(tokenizers.load(folder), SentencePiece)

    def test_the_json_is_taken_where_the_model_is_of_another_format(self, folder):
        (folder / 'tokenizer.model').write_bytes(b'IQ== 0\nIg== 1\n')
        (folder / 'tokenizer.json').write_text(tokenizer_files.byte_level().to_str())
        assert isinstance(tokenizers.load(folder), Json)


SPACED = {
    'llama2c': lambda: Llama2c(tokenizer_files.llama2c()),
    'sentencepiece': lambda: SentencePiece(tokenizer_files.sentence_piece()),
    'json': lambda: Json(tokenizer_files.llama2().to_str(), **tokenizer_files.SPECIAL),
}


@pytest.mark.parametrize('kind', SPACED)
def test_a_leading_space_is_saved(kind, tmp_path):
    tokenizer = SPACED[kind]()
    tokenizer.save(tmp_path)
    loaded = tokenizers.load(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint
    for start in (False, True):
        assert loaded.encode('a cat', start) == tokenizer.encode('a cat', start)


@pytest.mark.parametrize(
    ('kind', 'older'),
    [
        ('llama2c', {'kind': 'llama2c', 'prefix': True}),
        ('sentencepiece', {'kind': 'sentencepiece', 'exact': False}),
        ('json', {'kind': 'json', **tokenizer_files.SPECIAL}),
    ],
)
def test_an_older_folder_with_spaces_in_the_middle_is_refused(kind, older, tmp_path):
    SPACED[kind]().save(tmp_path)
    (tmp_path / 'tokenizer.meta.json').write_text(json.dumps(older))
    with pytest.raises(UserError, match=r'older version.* new run folder'):
        tokenizers.load(tmp_path)


def test_an_older_folder_without_such_spaces_is_read_as_it_was(tmp_path):
    model = tokenizer_files.sentence_piece()
    SentencePiece(model).save(tmp_path)
    older = {'kind': 'sentencepiece', 'exact': True}
    (tmp_path / 'tokenizer.meta.json').write_text(json.dumps(older))
    loaded = tokenizers.load(tmp_path)
    assert not loaded.leading_space and loaded.encode('A', True) == loaded.encode('A')
    # the fingerprints of older runs, which their adapters carry
    digest = hashlib.sha256(b''.join([b"'sentencepiece'", b'True', model])).hexdigest()
    assert loaded.fingerprint == digest[:16]


def test_unknown_special_token():
    with pytest.raises(UserError, match=r"'<pod>'.*'<pad>'"):
        json_tokenizer(pad='<pod>')


@pytest.mark.parametrize('name', ['t.model', 't.json', 't.bin'])
def test_damaged_file(tmp_path, name):
    (tmp_path / name).write_bytes(b'\x01\x02not a tokenizer')
    with pytest.raises(UserError, match=name):
        tokenizers.load(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r'no tokenizer at .*nowhere'):
        tokenizers.load(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='none of tokenizer'):
        tokenizers.load(tmp_path)


def test_corpus_without_text():
    with pytest.raises(UserError, match='no text'):
        tokenizers.train_sentencepiece([''], 300)


@pytest.mark.parametrize('size', [1, 3, 10])
def test_a_size_below_what_the_characters_take(size):
    says = (
        rf'^tokenizer\.size: {size} pieces are too few .* take (\d+); give \1 or more'
    )
    with pytest.raises(UserError, match=says) as caught:
        tokenizers.train_sentencepiece(CORPUS, size)
    least = int(re.search(r'give (\d+)', str(caught.value))[1])
    assert tokenizers.train_sentencepiece(CORPUS, least).size == least
    with pytest.raises(UserError, match=f'{least - 1} pieces are too few'):
        tokenizers.train_sentencepiece(CORPUS, least - 1)


class TestReal:
    """The tokenizers among the shared data."""

    def test_llama2c(self, shared):
        tokenizer = tokenizers.load(shared / 'data/stories260K/tok512.bin')
        assert isinstance(tokenizer, Llama2c)
        assert (tokenizer.size, tokenizer.bos, tokenizer.eos) == (512, 1, 2)
        # The reference story starts with these pieces.
        ids = tokenizer.encode('Once upon a time', start=True)
        assert ids == [403, 407, 261, 378]
        for text in ['', ' x', 'a\nb', 'Ünï ☃', 'the  the', '<s>']:
            assert tokenizer.decode(tokenizer.encode(text)) == text
            begun = tokenizer.encode(text, start=True)
            assert tokenizer.decode([tokenizer.bos, *begun]) == text
        parts = tokenizer.encode('TL;DR:') + tokenizer.encode(' A short one.')
        assert tokenizer.decode(parts) == 'TL;DR: A short one.'

    def test_llama2c_in_parts(self, shared, tmp_path):
        content = (shared / 'data/stories260K/tok512.bin').read_bytes()
        exact = Llama2c(content, leading_space=False)
        text = 'Once upon a time, there was a little girl named Lily.'
        whole = exact.encode(text)
        assert exact.encode(text[:16]) + exact.encode(text[16:]) == whole
        exact.save(tmp_path)
        assert tokenizers.load(tmp_path).fingerprint == exact.fingerprint
        assert exact.fingerprint != Llama2c(content).fingerprint
        with pytest.raises(UserError, match='ends inside token'):
            Llama2c(content[:-3])

    @pytest.mark.parametrize(
        ('file', 'special'),
        [
            ('maxtext_tokenizer.mistral-v1', (2, 1, 2)),
            ('transformers_test_sentencepiece_with_bytefallback.model', (2, 1, 2)),
            ('t5_seqio_test_sentencepiece.model', (0, 0, 1)),
        ],
    )
    def test_special_ids(self, shared, file, special):
        tokenizer = tokenizers.load(shared / 'data/sentencepiece' / file)
        assert (tokenizer.pad, tokenizer.bos, tokenizer.eos) == special

    def test_mistral_is_exact(self, shared):
        model = (
            shared / 'data/sentencepiece/maxtext_tokenizer.mistral-v1'
        ).read_bytes()
        tokenizer = SentencePiece(model)
        text = 'user:  two spaces\n and ünicode ☃ '
        assert tokenizer.decode(tokenizer.encode(text)) == text
        trained = sentencepiece.SentencePieceProcessor(model_proto=model)
        assert tokenizer.encode('hi', start=True) == trained.encode('hi')
        assert tokenizer.encode('hi') != trained.encode('hi')


@pytest.mark.parametrize('said', [True, False, None])
@pytest.mark.parametrize('adds', [True, False])
def test_whether_a_text_begins_with_bos(tmp_path, adds, said):
    """A tokenizer.json says it itself, whatever stands beside it, as in transformers;
    a tokenizer.model alone has the word of the file beside it."""
    model = tokenizer_files.byte_level()
    if adds:
        bos = ('<s>', model.token_to_id('<s>'))
        model.post_processor = hf.processors.TemplateProcessing(
            single='<s> $A </s>', special_tokens=[bos, ('</s>', 2)]
        )
    config = {'eos_token': '</s>', 'bos_token': '<s>', 'add_bos_token': said}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    (tmp_path / 'tokenizer.json').write_text(model.to_str())
    loaded = tokenizers.load(tmp_path)
    assert loaded.adds_bos is adds
    (tmp_path / 'tokenizer.model').write_bytes(tokenizer_files.sentence_piece())
    (tmp_path / 'tokenizer.json').unlink()
    piece = tokenizers.load(tmp_path)
    assert piece.adds_bos is (said is not False)
    for found in (loaded, piece):
        found.save(tmp_path / 'run')
        again = tokenizers.load(tmp_path / 'run')
        assert (again.adds_bos, again.fingerprint) == (
            found.adds_bos,
            found.fingerprint,
        )


def test_a_run_of_an_older_version_goes_on_with_bos(tmp_path):
    text = tokenizer_files.byte_level().to_str()
    Json(text, **tokenizer_files.SPECIAL, adds_bos=None).save(tmp_path)
    assert not tokenizers.load(tmp_path).adds_bos
    meta = json.loads((tmp_path / 'tokenizer.meta.json').read_text())
    del meta['adds_bos']
    (tmp_path / 'tokenizer.meta.json').write_text(json.dumps(meta))
    older = tokenizers.load(tmp_path)
    assert older.adds_bos
    assert older.fingerprint == Json(text, **tokenizer_files.SPECIAL).fingerprint
