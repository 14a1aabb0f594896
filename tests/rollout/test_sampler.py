"""The sampler against teacher forcing, and what it may draw."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.adapters import tree
from perl.models import decoder
from perl.rollout import choosing, sampler, scoring
from perl.rollout.choosing import Sampling

R = 6
play = jax.jit(sampler.sample, static_argnums=(0, 5))
score = jax.jit(scoring.log_probs, static_argnums=(0, 4, 5))


def prompts(lengths=(5, 1, 3, 5), width=5, pad=0, seed=0):
    """Ragged prompts, padded on the left."""
    rng = np.random.default_rng(seed)
    rows = np.full((len(lengths), width), pad, np.int32)
    for row, n in zip(rows, lengths, strict=True):
        row[width - n :] = rng.integers(3, 32, n)
    return jnp.asarray(rows), jnp.asarray(lengths)


@functools.cache
def base(tied=False):
    return tiny.weights(tiny.arch(tied=tied))


@pytest.mark.parametrize(
    ('scan', 'temperature'), [(False, 0.0), (True, 0.0), (False, 0.7), (True, 1.3)]
)
def test_log_probs_equal_teacher_forcing(scan, temperature):
    arch = tiny.arch(scan=scan, tied=scan)
    params = tree.bind(base(scan), tiny.adapter(arch))
    tokens, lengths = prompts()
    sampling = Sampling(R, None, temperature)
    said = play(arch, params, tokens, lengths, jax.random.key(0), sampling)
    whole = jnp.concatenate([tokens, said.tokens], 1)
    want = score(arch, params, whole, lengths, R, temperature or 1.0)
    np.testing.assert_allclose(said.log_probs, want, atol=1e-4)
    assert np.all(said.lengths == R) and not np.any(said.finished)


def greedy(tokens, lengths, params=None, eos=None, arch=tiny.ARCH, most=R):
    params = base() if params is None else params
    sampling = Sampling(most, eos, 0.0)
    return play(arch, params, tokens, lengths, jax.random.key(0), sampling)


@jax.jit
def next_logits(row, at):
    """After slot `at` of one bare row; what comes later is not seen."""
    states = decoder.hidden(tiny.ARCH, base(), row, jnp.arange(row.shape[1])[None])
    return decoder.unembed(tiny.ARCH, base(), states)[0, at]


def test_greedy_takes_the_most_likely_token_of_the_bare_row():
    tokens, lengths = prompts()
    said = greedy(tokens, lengths)
    for i, n in enumerate(np.asarray(lengths)):
        row = np.zeros((1, 12), np.int32)
        row[0, :n] = tokens[i, -n:]
        row[0, n : n + R] = said.tokens[i]
        for t, token in enumerate(said.tokens[i]):
            assert token == np.argmax(next_logits(row, n + t - 1))


def test_a_row_does_not_depend_on_batch_mates_nor_padding():
    tokens, lengths = prompts()
    together = greedy(tokens, lengths)
    wide = jnp.pad(tokens, ((0, 0), (4, 0)), constant_values=7)
    alone = greedy(wide[1:3], lengths[1:3])
    for name in ('tokens', 'lengths', 'finished'):
        np.testing.assert_array_equal(
            getattr(together, name)[1:3], getattr(alone, name)
        )
    np.testing.assert_allclose(together.log_probs[1:3], alone.log_probs, atol=1e-5)


def test_a_row_stops_at_its_end_of_sequence():
    tokens, lengths = prompts()
    free = greedy(tokens, lengths)
    eos = int(free.tokens[2, 2])
    said = greedy(tokens, lengths, eos=eos)
    for row in range(4):
        found = np.flatnonzero(np.asarray(free.tokens[row]) == eos)
        stop = int(found[0]) + 1 if found.size else R
        assert said.lengths[row] == stop
        assert said.finished[row] == bool(found.size)
        np.testing.assert_array_equal(said.tokens[row, :stop], free.tokens[row, :stop])
        np.testing.assert_allclose(
            said.log_probs[row], np.where(np.arange(R) < stop, free.log_probs[row], 0),
            atol=1e-6,
        )  # fmt: skip
    assert said.lengths[2] <= 3


def test_sampling_ends_when_every_row_has(monkeypatch):
    tokens, lengths = prompts()
    free = np.asarray(greedy(tokens, lengths).tokens[0])
    want = int(np.flatnonzero(free == free[2])[0])
    steps, forward = [], decoder.forward

    def counted(*args, **options):
        if len(args) > 5:
            jax.debug.callback(lambda t: steps.append(int(t)), args[6])
        return forward(*args, **options)

    monkeypatch.setattr(decoder, 'forward', counted)
    sampling = Sampling(50, int(free[2]), 0.0)
    fresh = jax.jit(functools.partial(sampler.sample, tiny.ARCH, sampling=sampling))
    said = fresh(base(), tokens[:1], lengths[:1], jax.random.key(0))
    jax.effects_barrier()
    assert said.lengths[0] == want + 1
    assert len(steps) == want  # the first token comes from the prompt's own pass


@pytest.mark.parametrize('seed', [1, 2])
def test_the_key_decides(seed):
    tokens, lengths = prompts()
    a, b, c = (
        play(tiny.ARCH, base(), tokens, lengths, jax.random.key(s), Sampling(R, None))
        for s in (seed, seed, seed + 10)
    )
    np.testing.assert_array_equal(a.tokens, b.tokens)
    assert np.any(a.tokens != c.tokens)
    assert np.any(a.tokens[0] != a.tokens[3])


@pytest.mark.parametrize('scan', [False, True])
def test_a_prompt_is_encoded_once_for_its_samples(monkeypatch, scan):
    """The same as of the prompt given several times: tokens exactly, log-probs up to
    rounding, since XLA sums in another order where a product has fewer rows."""
    arch, rows, forward = tiny.arch(scan=scan), [], decoder.forward

    def counted(*args, **options):
        rows.append(args[2].shape)
        return forward(*args, **options)

    monkeypatch.setattr(decoder, 'forward', counted)
    tokens, lengths = prompts()
    sampling, key = Sampling(R, (3, 4, 5)), jax.random.key(5)
    params = tree.bind(tiny.weights(arch), tiny.adapter(arch))
    fresh = jax.jit(sampler.sample, static_argnums=(0, 5, 6))
    once = fresh(arch, params, tokens, lengths, key, sampling, 3)
    assert rows == [(4, 5), (12, 1)]
    several = (jnp.repeat(x, 3, axis=0) for x in (tokens, lengths))
    want = fresh(arch, params, *several, key, sampling)
    np.testing.assert_array_equal(once.tokens, want.tokens)
    np.testing.assert_array_equal(once.lengths, want.lengths)
    np.testing.assert_array_equal(once.finished, want.finished)
    np.testing.assert_allclose(once.log_probs, want.log_probs, atol=5e-6)
    assert len(np.unique(once.tokens[:3], axis=0)) == 3


def test_with_a_key_a_row_a_response_depends_on_no_other():
    tokens, lengths = prompts()
    keys = choosing.keys_of(jax.random.key(3), 4)
    sampling = Sampling(R, None)
    together = play(tiny.ARCH, base(), tokens, lengths, keys, sampling)
    alone = play(tiny.ARCH, base(), tokens[2:], lengths[2:], keys[2:], sampling)
    np.testing.assert_array_equal(together.tokens[2:], alone.tokens)
    others = play(tiny.ARCH, base(), tokens, lengths, keys[::-1], sampling)
    assert np.all(np.any(together.tokens != others.tokens, axis=1))


def test_positions_and_segments_of_left_padded_rows():
    positions, segments = sampler.left_padded(jnp.array([1, 3]), 3, 2)
    np.testing.assert_array_equal(positions, [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(segments, [[-1, -1, 0, 0, 0], [0] * 5])


def test_adapters_by_id_speak_as_they_do_alone():
    deltas = [tiny.adapter(seed=s) for s in (1, 2)]
    tokens, lengths = prompts((4, 4))
    stacked = tree.bind(base(), tree.stack(deltas), jnp.array([1, 0]))
    together = greedy(tokens, lengths, stacked)
    for row, which in ((0, 1), (1, 0)):
        alone = greedy(tokens, lengths, tree.bind(base(), deltas[which]))
        np.testing.assert_array_equal(together.tokens[row], alone.tokens[row])
