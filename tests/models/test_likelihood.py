"""Log-probs of tokens against the softmax by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.losses import language
from perl.models import decoder, likelihood


@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('tied', [False, True])
def test_token_log_probs(tied, remat):
    arch = tiny.arch(tied=tied, remat=remat)
    params, (targets, _) = tiny.weights(arch), tiny.rows((2, 5))
    states = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 16)), jnp.float32)
    got = likelihood.token_log_probs(arch, params, states, targets, 0.7)
    logits = decoder.unembed(arch, params, states)
    np.testing.assert_allclose(
        got, language.log_probs(logits, targets, 0.7), rtol=1e-5, atol=1e-6
    )
    by_hand = jax.nn.log_softmax(logits / 0.7)
    want = np.take_along_axis(np.asarray(by_hand), np.asarray(targets)[..., None], -1)
    np.testing.assert_allclose(got, want[..., 0], rtol=1e-4, atol=1e-5)


def test_the_next_token_of_each_slot():
    """Slot t is about token t + 1; the last slot is about nothing."""
    params, (tokens, positions) = tiny.weights(), tiny.rows((2, 6))
    learnt = np.array([[0, 0, 1, 1, 1, 0], [1, 1, 0, 0, 1, 1]], bool)
    rows = {
        'tokens': tokens,
        'positions': positions,
        'segments': jnp.zeros_like(tokens),
        'completion': jnp.asarray(learnt),
    }
    got, mask = jax.jit(likelihood.next_token_log_probs, static_argnums=0)(
        tiny.ARCH, params, rows
    )
    np.testing.assert_array_equal(mask[:, :-1], learnt[:, 1:])
    assert not mask[:, -1].any()
    states = decoder.hidden(tiny.ARCH, params, tokens, positions)
    scores = jax.nn.log_softmax(decoder.unembed(tiny.ARCH, params, states))
    for b, t in np.ndindex(2, 5):
        want = scores[b, t, tokens[b, t + 1]]
        np.testing.assert_allclose(got[b, t], want, rtol=1e-4, atol=1e-5)
