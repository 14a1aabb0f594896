"""The tokenizer of llama2.c gives texts in parts back."""

import pytest
import tokenizer_files
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data.tokenizers import Llama2c
from perl.system.errors import UserError

T = Llama2c(tokenizer_files.llama2c())
CAT = 259 + 6  # the piece ' cat'


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text())
def test_parts_are_the_text(prompt, response):
    after = T.encode(response, start=not prompt)
    running = [T.bos, *T.encode(prompt, start=True), *after, T.eos]
    assert T.decode(running) == prompt + response
    assert T.decode(T.encode(prompt) + T.encode(response)) == prompt + response


def test_only_a_start_has_a_space():
    assert T.encode('cat cat', start=True) == [CAT, CAT]
    assert T.encode('cat', start=True) + T.encode(' cat') == [CAT, CAT]
    assert T.encode('cat') == [259 + 1, 259 + 5]
    assert T.encode('', start=True) == []
    assert T.decode([CAT]) == ' cat' and T.decode([T.bos, CAT]) == 'cat'


def test_a_file_read_without_a_space():
    plain = Llama2c(tokenizer_files.llama2c(), leading_space=False)
    assert plain.encode('cat', start=True) == plain.encode('cat') == T.encode('cat')
    assert plain.decode([plain.bos, CAT]) == ' cat'
    assert plain.fingerprint != T.fingerprint


def test_every_character_has_bytes():
    assert T.encode('é') == [3 + 0xC3, 3 + 0xA9]
    assert T.unknown('é', T.encode('é')) == 0


def test_a_file_that_breaks_off():
    with pytest.raises(UserError, match='ends inside token 265'):
        Llama2c(tokenizer_files.llama2c()[:-3])
    with pytest.raises(UserError, match='at least 259 tokens'):
        Llama2c(tokenizer_files.llama2c()[:30])
