"""The laws of the decoder, for everything that a family may ask of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.adapters import tree
from perl.models import architecture, decoder
from perl.models.scaling import Scaling
from perl.rollout import sampler, scoring
from perl.system.errors import UserError
from perl.weights import flatten

BIASED = {'qkv_bias': True, 'o_bias': True, 'mlp_bias': True}
FEATURES = {
    'a window and soft caps': {
        'windows': (3,), 'attention_cap': 1.5, 'logit_cap': 2.0, 'query_scalar': 9.0,
    },
    'two rotations, one of them scaled': {
        'windows': (0, 3), 'rope_local_theta': 20.0, 'kv_heads': 1,
        'rope_scaling': Scaling('yarn', 4.0, 16, magnitude=1.3),
    },
    'layers without rotation': {'unrotated': (False, True), 'windows': (0, 4)},
    'learned positions, layer norms, no gate': {
        'positions': 'learned', 'head_width': 5, 'norm': 'layer', 'gated': False,
        'activation': 'gelu', **BIASED,
    },
    'a part of a head, parallel': {
        'rope_width': 2, 'rope_layout': 'pairs', 'head_width': 6, 'norm': 'layer',
        'parallel': True,
    },
    'norms after': {'norm_at': 'after', 'qk_norm': 'whole', **BIASED},
    'norms around and a scaled embedding': {
        'norm_at': 'both', 'norm': 'rms_offset', 'qk_norm': 'head', 'tied': True,
        'embed_scale': 4.0, 'activation': 'gelu_tanh',
    },
}  # fmt: skip
TOKENS, POSITIONS = tiny.rows((3, 9))
# two completions of one prompt, one document, a row that is padded on the left
SEGMENTS = jnp.array([[0, 0, 0, 1, 1, 1, 2, 2, 2], [0] * 9, [-1] * 3 + [0] * 6])
PLACES = jnp.array([[0, 1, 2, 3, 4, 5, 3, 4, 5], range(9), [0] * 3 + [*range(6)]])
every = pytest.mark.parametrize('name', FEATURES)


def arch(name, **how):
    return tiny.arch(**{**FEATURES[name], **how})


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, params, tokens, positions, segments):
    states = decoder.hidden(arch, params, tokens, positions, segments)
    return decoder.unembed(arch, params, states)


@functools.partial(jax.jit, static_argnums=0)
def hidden(arch, params, *rows):
    return decoder.hidden(arch, params, *rows)


@functools.partial(jax.jit, static_argnums=(0, 4))
def played(arch, params, lengths, key, sampling):
    """Responses to the rows, and their log-probs as the trainer computes them."""
    got = sampler.sample(arch, params, TOKENS, lengths, key, sampling)
    rows = jnp.concatenate([TOKENS, got.tokens], axis=1)
    length = sampling.max_tokens
    return got, scoring.log_probs(arch, params, rows, lengths, length, 1.0)


@every
def test_it_changes_the_numbers_and_every_parameter_is_read(name):
    params = tiny.weights(arch(name))

    def loss(params):
        return jnp.sum(jnp.sin(logits(arch(name), params, TOKENS, PLACES, SEGMENTS)))

    grads = flatten(jax.jit(jax.grad(loss))(params))
    # softmax does not see a bias of all keys
    silent = {path for path, g in grads.items() if np.abs(g).max() < 1e-6}
    assert {path for path in silent if not path.endswith('k_bias')} == set()
    fresh = architecture.init(jax.random.key(0), arch(name))
    assert np.isfinite(logits(arch(name), fresh, TOKENS, PLACES, SEGMENTS)).all()


@every
def test_scanned_and_recomputed_layers_compute_the_same(name):
    base, delta = tiny.weights(arch(name)), tiny.adapter(arch(name), KINDS)

    def learned(arch):
        def loss(delta):
            out = logits(arch, tree.bind(base, delta), TOKENS, PLACES, SEGMENTS)
            # a slow sine: logits of tens have rounding that a fast one would show
            return jnp.sum(jnp.where(SEGMENTS[..., None] >= 0, jnp.sin(out / 4), 0))

        return jax.jit(jax.value_and_grad(loss))(delta)

    tiny.close(
        learned(arch(name, scan=True, remat=True)), learned(arch(name)), atol=5e-5
    )


KINDS = tiny.LoraTuning(rank=2, targets=('layers/(attention|mlp)/(q|k|v|o|up|down)',))


@every
def test_adapters_beside_kernels_equal_merged_ones(name):
    base, delta = tiny.weights(arch(name)), tiny.adapter(arch(name), KINDS)
    bound = logits(arch(name), tree.bind(base, delta), TOKENS, PLACES, SEGMENTS)
    merged = logits(arch(name), tree.merge(base, delta), TOKENS, PLACES, SEGMENTS)
    np.testing.assert_allclose(bound, merged, atol=2e-4)


@every
def test_states_that_are_read_equal_those_of_all(name):
    own, read = arch(name), jnp.array([[8, 2, 5], [0, 5, 3], [8, 4, 3]])
    params = tiny.weights(own)
    few = hidden(own, params, TOKENS, PLACES, SEGMENTS, read)
    some = hidden(own, params, TOKENS, PLACES, SEGMENTS)
    want = np.stack([row[at] for row, at in zip(some, read, strict=True)])
    np.testing.assert_allclose(few, want, atol=2e-5)


@every
def test_completions_of_a_shared_prompt_equal_rows_apart(name):
    """A window counts tokens, not the slots of another completion between them."""
    own = arch(name)
    params = tiny.weights(own)
    together = logits(own, params, TOKENS, PLACES, SEGMENTS)[0]
    second = np.array([0, 1, 2, 6, 7, 8])
    row = TOKENS[:1, second]
    apart = logits(own, params, row, jnp.arange(6)[None], jnp.zeros((1, 6), jnp.int32))
    np.testing.assert_allclose(together[second], apart[0], atol=2e-5)


@every
def test_the_sampler_says_what_the_trainer_says(name):
    """With windows that end in the prompt and in the response; every other feature
    has scanned layers."""
    scan = list(FEATURES).index(name) % 2 == 1
    own, lengths = arch(name, scan=scan), jnp.array([9, 6, 2])
    params, sampling = tiny.weights(own), sampler.Sampling(7, None, temperature=1.0)
    got, want = played(own, params, lengths, jax.random.key(1), sampling)
    np.testing.assert_allclose(got.log_probs, want, atol=5e-5)


@pytest.mark.parametrize('scan', [False, True])
def test_a_window_of_one_token_is_the_token_itself(scan):
    """In whole rows, and in the cache, which has all tokens before it."""
    own, lengths = tiny.arch(windows=(1,), scan=scan), jnp.array([9, 6, 2])
    params, sampling = tiny.weights(own), sampler.Sampling(5, None, temperature=1.0)
    got, _ = played(own, params, lengths, jax.random.key(1), sampling)
    last = jnp.concatenate([TOKENS[:, -1:], got.tokens[:, :-1]], axis=1)
    alone = hidden(own, params, last.reshape(-1, 1), jnp.zeros((15, 1), int))
    chances = jax.nn.log_softmax(decoder.unembed(own, params, alone)[:, 0])
    want = np.asarray(chances)[np.arange(15), got.tokens.reshape(-1)]
    np.testing.assert_allclose(got.log_probs.reshape(-1), want, atol=2e-5)


def test_attention_is_that_of_the_architecture():
    how = arch('norms after', attention='splash')
    params = architecture.init(jax.random.key(0), how)
    with pytest.raises(UserError, match=r'model.attention: splash .* this program is'):
        decoder.hidden(how, params, TOKENS, POSITIONS, SEGMENTS)
