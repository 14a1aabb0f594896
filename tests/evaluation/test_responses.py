"""Responses of a run's model, in batches of any size."""

import jax
import numpy as np
import pytest
from reward_tasks import ARCH, ROLE

from perl import config as configs
from perl import sharding
from perl.data.tokenizers import Bytes
from perl.evaluation import responses
from perl.rollout.choosing import Sampling
from perl.runs.run import Run

SAMPLING = Sampling(6, tuple(range(0, 259, 4)))
PROMPTS = [np.arange(n % 7 + 1) + 40 + n for n in range(9)]


@pytest.fixture
def run(tmp_path):
    """A run of a tiny decoder over bytes."""
    config = configs.experiment('responses')
    return Run(config, tmp_path, sharding.make_mesh(), None, Bytes(), ARCH)


def sampled(run, batch_size, samples):
    run.config.evaluation.batch_size = batch_size
    rows = ROLE.bound(), PROMPTS, SAMPLING, jax.random.key(3), samples
    return responses.sample(run, *rows, multiple=8)


@pytest.mark.parametrize(('samples', 'calls'), [(1, 1), (2, 2), (5, 3)])
def test_the_size_of_a_batch_changes_no_response(run, monkeypatch, samples, calls):
    """Nor do the calls that they are sampled in, whose last is filled up."""
    want = sampled(run, 1000, samples)
    assert len(np.unique(want.lengths)) > 3
    sample, made = responses._sample, []

    def counted(*args):
        made.append(args)
        return sample(*args)

    monkeypatch.setattr(responses, '_sample', counted)
    got = sampled(run, 1, samples)
    assert len(made) == calls
    assert len(got.tokens) == len(want.tokens) == 9 * samples
    check(got, want)


def check(got, want):
    real = np.arange(6) < want.lengths[:, None]
    np.testing.assert_array_equal(got.lengths, want.lengths)
    np.testing.assert_array_equal(got.finished, want.finished)
    np.testing.assert_array_equal(got.tokens[real], want.tokens[real])
    np.testing.assert_allclose(got.log_probs, want.log_probs, atol=1e-5)


@pytest.mark.parametrize(
    ('devices', 'prompts', 'most'), [(1, 9, 16), (8, 1, 40)], ids=str
)
def test_many_samples_of_a_prompt_take_several_calls(
    run, monkeypatch, devices, prompts, most
):
    """Each of which can be interrupted; and one prompt is for all devices of a mesh."""
    samples, sizes, sample = 40, [], responses._sample
    run.config.evaluation.batch_size = 1000 if devices > 1 else 1
    rows = ROLE.bound(), PROMPTS[:prompts], SAMPLING, jax.random.key(3), samples
    want = responses.sample(run, *rows, multiple=8)

    def counted(*args):
        sizes.append(len(args[4]))
        return sample(*args)

    monkeypatch.setattr(responses, '_sample', counted)
    monkeypatch.setattr(run, 'mesh', sharding.make_mesh(data=devices))
    with jax.set_mesh(run.mesh):
        check(responses.sample(run, *rows, multiple=8), want)
    assert max(sizes) <= most


def test_texts_of_no_prompts_and_of_some(run):
    greedy = Sampling(5, None, 0.0)
    texts = [
        responses.respond(run, ROLE.bound(), prompts, greedy, jax.random.key(0))
        for prompts in ([], ['abc', 'd', 'ab'], ['ab'])
    ]
    assert texts[0] == [] and len(texts[1]) == 3
    assert texts[1][2:] == texts[2]
