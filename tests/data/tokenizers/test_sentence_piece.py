"""A SentencePiece model gives texts in parts back, with a space before a start."""

import pytest
import sentencepiece
import tokenizer_files
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data.tokenizers import SentencePiece

MODEL = tokenizer_files.sentence_piece()
TEXT = st.text(st.characters(codec='utf-8', exclude_characters='▁'))
T = SentencePiece(MODEL)


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT)
def test_parts_are_the_text(prompt, response):
    after = T.encode(response, start=not prompt)
    running = [T.bos, *T.encode(prompt, start=True), *after, T.eos]
    assert T.decode(running) == prompt + response
    assert T.decode(T.encode(prompt) + T.encode(response)) == prompt + response
    assert T.unknown(prompt, T.encode(prompt)) == 0


def test_ids_are_those_of_the_running_text():
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    want = processor.encode('TL;DR: A short one.')
    assert T.encode('TL;DR:', start=True) + T.encode(' A short one.') == want
    assert T.encode('A') != T.encode('A', start=True) == processor.encode('A')


@pytest.mark.parametrize(
    'options', [{'add_dummy_prefix': False}, {'treat_whitespace_as_suffix': True}]
)
def test_a_model_without_a_space_before_a_text(options):
    t = SentencePiece(tokenizer_files.sentence_piece(**options))
    assert not t.leading_space and t.encode('A', start=True) == t.encode('A')
    assert t.fingerprint != SentencePiece(MODEL).fingerprint


def test_characters_without_a_piece_are_counted():
    t = SentencePiece(tokenizer_files.sentence_piece(byte_fallback=False))
    assert t.unknown('The 猫 sat 犬', t.encode('The 猫 sat 犬')) == 2
    assert t.unknown('The cat', t.encode('The cat')) == 0
