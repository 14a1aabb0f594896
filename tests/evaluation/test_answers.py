"""The text of sampled tokens, and how many rows are sampled."""

import types

import numpy as np
import pytest
import tokenizer_files
from reward_tasks import ARCH, ROLE, encoded

from perl import config as configs
from perl import sharding
from perl.data.tokenizers import Bytes, Llama2c
from perl.evaluation import answers, responses
from perl.rollout import refill
from perl.runs.run import Run

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


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a tiny decoder over bytes."""
    config = configs.experiment('answers')
    config.lengths.update(prompt=8, response=6)
    run = Run(config, tmp_path, sharding.make_mesh(), None, Bytes(), ARCH)
    monkeypatch.setattr(run, 'encoded', encoded)
    return run


@pytest.mark.parametrize(('size', 'rows'), [(100_000, 8), (5, 5)])
def test_no_more_rows_are_sampled_than_needed(run, monkeypatch, size, rows):
    run.config.evaluation.batch_size = size
    called = []

    def counted(arch, params, prompts, *rest):
        called.append((len(prompts), rest[3]))
        return refill.sample(arch, params, prompts, *rest)

    monkeypatch.setattr(responses, '_sample', counted)
    got = answers.answer(run, [*'abcdefgh'], ROLE, ROLE, None, seed=1)
    assert called == [(8, rows)]
    assert len(got.texts) == len(got.kl) == len(got.lengths) == 8
    np.testing.assert_allclose(got.kl, 0, atol=1e-6)


def test_samples_of_a_prompt_are_in_a_row(run):
    run.config.evaluation.update(batch_size=3, temperature=0.0)
    one = answers.answer(run, [*'abcd'], ROLE, ROLE, None, seed=1)
    two = answers.answer(run, [*'abcd'], ROLE, ROLE, None, seed=1, samples=2)
    assert two.texts == [text for text in one.texts for _ in range(2)]
    np.testing.assert_array_equal(two.lengths, np.repeat(one.lengths, 2))
    assert len(set(one.texts)) > 1
