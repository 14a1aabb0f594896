"""Responses in few slots against all of them at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import sharding
from perl.adapters import tree
from perl.models import decoder
from perl.rollout import choosing, refill, sampler, scoring
from perl.rollout.choosing import Sampling

N, P, R = 13, 5, 9
ENDS = (3, 4, 5, 6, 7)  # random tokens: about one in six
LENGTHS = jnp.asarray(np.arange(N) % P + 1)
PROMPTS = tiny.rows((N, P))[0]
whole = jax.jit(sampler.sample, static_argnums=(0, 5, 6))
refilled = jax.jit(refill.sample, static_argnums=(0, 5, 6, 7))
# a window, so that what is seen has to be counted around the end of the ring
FEATURES = {'windows': (4, 0)}


@functools.cache
def policy(scan):
    arch = tiny.arch(scan=scan, **FEATURES)
    return arch, tree.bind(tiny.weights(arch), tiny.adapter(arch))


def both(slots, samples=1, scan=False, sampling=None):
    """Responses in so many slots, and all of them at once."""
    sampling = sampling or Sampling(R, ENDS)
    keys = choosing.keys_of(jax.random.key(2), N * samples)
    rows = (*policy(scan), PROMPTS, LENGTHS, keys, sampling)
    return refilled(*rows, slots, samples), whole(*rows, samples)


def check(got, want):
    """The tokens are the same, and log-probs up to rounding."""
    real = np.arange(R) < np.asarray(want.lengths)[:, None]
    for name in ('lengths', 'finished'):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    np.testing.assert_array_equal(got.tokens[real], want.tokens[real])
    np.testing.assert_allclose(got.log_probs, want.log_probs, atol=5e-6)


@pytest.mark.parametrize('scan', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize(
    ('slots', 'samples'), [(1, 1), (4, 1), (12, 1), (5, 3), (16, 2), (24, 4), (39, 3)]
)
def test_few_slots_say_what_all_rows_say(scan, slots, samples):
    got, want = both(slots, samples, scan)
    check(got, want)
    assert len(np.unique(want.lengths)) > 4, 'they end at many places'
    assert np.any(~want.finished), 'and at the most tokens'


@pytest.mark.parametrize('ends', [ENDS, None, tuple(range(32))], ids=str)
def test_greedy_responses_are_those_of_the_sampler(ends):
    """Also where no response ends by itself, and where all do at once."""
    sampling = Sampling(R, ends, 0.0)
    got, want = both(4, sampling=sampling)
    check(got, want)
    plain = whole(*policy(False), PROMPTS, LENGTHS, jax.random.key(0), sampling, 1)
    check(got, plain)


def test_log_probs_equal_teacher_forcing():
    got, _ = both(3, samples=2)
    tokens = jnp.concatenate([jnp.repeat(PROMPTS, 2, 0), got.tokens], 1)
    lengths = jnp.repeat(LENGTHS, 2)
    score = jax.jit(scoring.log_probs, static_argnums=(0, 4, 5))
    want = score(*policy(False), tokens, lengths, R, 1.0)
    real = np.arange(R) < np.asarray(got.lengths)[:, None]
    np.testing.assert_allclose(got.log_probs, np.where(real, want, 0), atol=1e-4)


@pytest.mark.parametrize(('slots', 'samples'), [(4, 1), (16, 2), (32, 3), (32, 4)])
def test_a_slot_takes_a_prompt_when_its_response_has_ended(monkeypatch, slots, samples):
    """Steps are those of the tokens, not those of the longest response of each batch;
    samples of a prompt that are filled together are encoded once."""
    steps, prefills, forward = [], set(), decoder.forward

    def counted(*args, **options):
        if len(args) > 5:
            jax.debug.callback(lambda at: steps.append(int(at)), args[6])
        else:
            prefills.add(args[2].shape)
        return forward(*args, **options)

    monkeypatch.setattr(decoder, 'forward', counted)
    copies, long = 8, 40
    sampling = Sampling(long, ENDS)
    prompts, lengths = jnp.tile(PROMPTS, (copies, 1)), jnp.tile(LENGTHS, copies)
    keys = choosing.keys_of(jax.random.key(4), len(prompts) * samples)
    fresh = jax.jit(lambda *x: refill.sample(*x), static_argnums=(0, 5, 6, 7))
    rows = (*policy(False), prompts, lengths, keys, sampling, slots, samples)
    said = np.asarray(fresh(*rows).lengths)
    jax.effects_barrier()
    group = max(1, slots // 8)
    assert prefills == {(group // np.gcd(group, samples), P)}
    batches = np.pad(said, (0, -len(said) % slots)).reshape(-1, slots)
    waiting = batches.max(axis=1).sum()  # of batches one after the other
    least = said.sum() / slots  # the first token of a response comes from its prompt
    assert least - len(said) / slots <= len(steps) < min(waiting, 1.5 * least + long)
    assert len(steps) < waiting / 1.5


@pytest.mark.parametrize(('slots', 'encoded'), [(8, 8), (128, 8), (256, 16)])
def test_prompts_that_are_encoded_together_divide_over_a_mesh(
    monkeypatch, slots, encoded
):
    """Two samples share a prompt only where that leaves each device as many prompts;
    else every device would encode all of them."""
    shapes, forward = set(), decoder.forward

    def counted(*args, **options):
        if len(args) <= 5:
            shapes.add(args[2].shape)
        return forward(*args, **options)

    monkeypatch.setattr(decoder, 'forward', counted)
    prompts, lengths = jnp.tile(PROMPTS, (16, 1)), jnp.tile(LENGTHS, 16)
    keys = choosing.keys_of(jax.random.key(4), 2 * len(prompts))
    rows = (*policy(False), prompts, lengths, keys, Sampling(R, ENDS), slots, 2)
    with jax.set_mesh(sharding.make_mesh(data=8)):
        jax.eval_shape(lambda: refill.sample(*rows))
    assert shapes == {(encoded, P)}
