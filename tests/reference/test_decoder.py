"""The decoder beside transformers' Llama and Qwen 2."""

import functools

import hugging_face
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import torch

from perl.models import decoder
from perl.rollout import sampler

CASES = {
    'grouped queries': {},
    'tied': {'tied': True},
    'as many key heads': {'kv_heads': 4},
    'one key head': {'kv_heads': 1},
    'biases, as Qwen 2': {'qkv_bias': True},
    'scanned, another base of rotation': {'scan': True, 'rope_theta': 500000.0},
}
TOKENS, POSITIONS = tiny.rows((3, 12))


@functools.cache
def both(name):
    arch = tiny.arch(**CASES[name])
    params = tiny.weights(arch, seed=5)
    return arch, params, hugging_face.causal_lm(arch, params)


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, params, tokens, positions, segments=None):
    states = decoder.hidden(arch, params, tokens, positions, segments)
    return decoder.unembed(arch, params, states)


@pytest.mark.parametrize('name', CASES)
def test_logits(name):
    arch, params, model = both(name)
    with torch.no_grad():
        want = model(hugging_face.ids(TOKENS)).logits.numpy()
    np.testing.assert_allclose(
        logits(arch, params, TOKENS, POSITIONS), want, atol=1e-4, rtol=1e-4
    )


def test_padding_on_the_left():
    """Positions and masks from lengths are those of an attention mask."""
    arch, params, model = both('grouped queries')
    lengths = jnp.array([12, 7, 3])
    positions, segments = sampler.left_padded(lengths, 12)
    mask = torch.tensor(np.asarray(segments >= 0, np.int64))
    with torch.no_grad():
        want = model(
            hugging_face.ids(TOKENS),
            attention_mask=mask,
            position_ids=hugging_face.ids(positions),
        ).logits.numpy()
    got = np.asarray(logits(arch, params, TOKENS, positions, segments))
    real = np.asarray(segments >= 0)
    np.testing.assert_allclose(got[real], want[real], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('name', ['grouped queries', 'biases, as Qwen 2'])
def test_greedy_texts(name):
    """Sampling with a cache at temperature 0 is `generate` without sampling."""
    arch, params, model = both(name)
    sampling = sampler.Sampling(8, None, temperature=0.0)
    lengths = jnp.full(3, 12)
    got = sampler.sample(arch, params, TOKENS, lengths, jax.random.key(0), sampling)
    with torch.no_grad():
        want = model.generate(
            hugging_face.ids(TOKENS),
            attention_mask=torch.ones(3, 12, dtype=torch.int64),
            do_sample=False,
            max_new_tokens=8,
            min_new_tokens=8,
            pad_token_id=0,
            eos_token_id=None,
        )[:, 12:]
    np.testing.assert_array_equal(got.tokens, want.numpy())


def test_gradients_of_the_language_loss():
    """Of the embedding, which every other gradient passes through."""
    arch, params, model = both('grouped queries')

    def loss(params):
        log_p = jax.nn.log_softmax(logits(arch, params, TOKENS, POSITIONS)[:, :-1])
        return -jnp.mean(jnp.take_along_axis(log_p, TOKENS[:, 1:, None], -1))

    got = jax.grad(loss)(params)
    model.zero_grad()
    model(hugging_face.ids(TOKENS), labels=hugging_face.ids(TOKENS)).loss.backward()
    named = dict(model.named_parameters())
    want = named['model.embed_tokens.weight'].grad.numpy()
    np.testing.assert_allclose(got['embed'], want, atol=1e-5, rtol=1e-3)
    want = named['model.layers.0.mlp.down_proj.weight'].grad.numpy().T
    np.testing.assert_allclose(
        got['layers']['mlp']['down'][0], want, atol=1e-5, rtol=1e-3
    )
