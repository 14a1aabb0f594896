"""The text of sampled tokens, and how many rows are sampled."""

import types

import jax
import numpy as np
import pytest
import tokenizer_files
from reward_tasks import ARCH, ROLE, encoded

from perl import config as configs
from perl import sharding
from perl.data.tokenizers import Bytes, Llama2c
from perl.evaluation import answers
from perl.rollout import sampler
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


@pytest.mark.parametrize(('size', 'batches'), [(100_000, [8]), (5, [5, 5])])
def test_no_more_rows_are_sampled_than_needed(size, batches, tmp_path, monkeypatch):
    config = configs.experiment('answers')
    config.lengths.update(prompt=8, response=2)
    config.evaluation.batch_size = size
    run = Run(config, tmp_path, sharding.make_mesh(), None, Bytes(), ARCH)
    monkeypatch.setattr(run, 'encoded', encoded)
    sample, sampled = sampler.sample, []

    def counted(arch, params, prompts, lengths, key, sampling):
        jax.debug.callback(sampled.append, len(prompts))
        return sample(arch, params, prompts, lengths, key, sampling)

    monkeypatch.setattr(sampler, 'sample', counted)
    answers._sample.cache_clear()
    try:
        got = answers.answer(run, [*'abcdefgh'], ROLE, ROLE, None, seed=1)
        jax.effects_barrier()
    finally:
        answers._sample.cache_clear()
    assert sampled == batches
    assert len(got.texts) == len(got.kl) == len(got.lengths) == 8
    np.testing.assert_allclose(got.kl, 0, atol=1e-6)
