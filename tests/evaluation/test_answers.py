"""The text of sampled tokens."""

import types

import numpy as np
import tokenizer_files

from perl.data.tokenizers import Llama2c
from perl.evaluation import answers

CAT = 259 + 6  # the piece ' cat'


def test_a_response_continues_its_prompt_or_begins_the_text():
    tokenizer = Llama2c(tokenizer_files.llama2c())
    tokens = np.array([[CAT, CAT, 2, 0], [CAT, 2, 0, 0], [CAT, CAT, CAT, CAT]])
    sampled = types.SimpleNamespace(
        tokens=tokens,
        lengths=np.array([3, 2, 4]),
        finished=np.array([True, True, False]),
    )
    texts = answers.decode(tokenizer, sampled, ['a', '', 'a'])
    assert texts == [' cat cat', 'cat', ' cat cat cat cat']
