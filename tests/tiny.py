"""A decoder that compiles in a second, its weights, adapters and rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from perl.adapters.factors import is_lora
from perl.adapters.tunings import LoraTuning
from perl.models import architecture
from perl.models.architecture import Architecture
from perl.stages.policy.objective import Objective
from perl.weights import Lora, is_leaf

ARCH = Architecture(
    vocabulary=32,
    width=16,
    layers=2,
    heads=4,
    kv_heads=2,
    head_width=4,
    hidden=24,
    max_length=64,
    scan=False,
)
OBJECTIVE = Objective(
    algorithm='ppo',
    samples=1,
    temperature=1.0,
    gamma=1.0,
    lam=0.95,
    clip=0.2,
    clip_high=0.0,
    value_clip=0.2,
    value_coefficient=0.1,
    whiten_advantages=True,
    whiten_rewards=False,
    scale_rewards=False,
    clip_rewards=0.0,
    missing_eos_penalty=1.0,
    overlong_tokens=0,
    sampler_correction='none',
    correction_limit=2.0,
    kl_estimator='k1',
    kl_in='reward',
    entropy_coefficient=0.0,
)
EVERYWHERE = ('layers/.*/(q|k|v|o|gate|up|down)', '(un)?embed')
LORA = LoraTuning(rank=3, alpha=6.0, targets=EVERYWHERE)


def arch(**changes):
    """The tiny decoder with other settings."""
    return dataclasses.replace(ARCH, **changes)


def weights(arch=ARCH, seed=0, dtype=jnp.float32):
    """Random parameters, also of norms, with unit gain, so that each one matters."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if not leaf.inputs:
            return 1 + 0.1 * rng.normal(size=leaf.shape)
        stacked = int(path[0].key == 'layers')
        inputs = leaf.shape[stacked : stacked + leaf.inputs]
        scale = 0.5 if path[0].key == 'embed' else np.prod(inputs) ** -0.5
        return scale * rng.normal(size=leaf.shape)

    drawn = jax.tree_util.tree_map_with_path(
        draw, architecture.parameters(arch), is_leaf=is_leaf
    )
    return jax.tree.map(lambda x: jnp.asarray(x.astype(dtype)), drawn)


def adapter(arch=ARCH, kind=LORA, seed=1):
    """A delta as after training: both factors are random."""
    rng = np.random.default_rng(seed)
    said = kind.declare(architecture.parameters(arch))

    def trained(lora):
        a, b = (
            jnp.asarray(0.25 * rng.normal(size=factor.shape), jnp.float32)
            for factor in (lora.a, lora.b)
        )
        return Lora(a, b, lora.scale, lora.dropout)

    return jax.tree.map(trained, said, is_leaf=is_lora)


def head(seed=2, width=ARCH.width):
    """A scalar head."""
    rng = np.random.default_rng(seed)
    kernel = jnp.asarray(rng.normal(size=width), jnp.float32)
    return {'kernel': kernel, 'bias': jnp.float32(0.3)}


def rows(shape=(3, 6), seed=3, vocabulary=ARCH.vocabulary):
    """Tokens and positions of full rows."""
    rng = np.random.default_rng(seed)
    tokens = jnp.asarray(rng.integers(0, vocabulary, shape), jnp.int32)
    return tokens, jnp.broadcast_to(jnp.arange(shape[-1]), shape)


def ended(last=(5, 3, 4), seed=3):
    """A batch for a panel: rows of six slots, each with its last token at `last`."""
    tokens, positions = rows((len(last), 6), seed)
    ends = jnp.array(last)[:, None]
    segments = jnp.where(positions <= ends, 0, -1)
    return {
        'tokens': tokens,
        'positions': positions,
        'segments': segments,
        'ends': ends,
    }


def close(got, want, atol=1e-5):
    """Asserts that all leaves of two trees are equal up to a share of their largest
    element or 1."""

    def compare(x, y):
        x, y = (np.asarray(z, np.float64) for z in (x, y))
        size = max(1.0, np.abs(y).max(initial=0.0))
        np.testing.assert_allclose(x, y, atol=atol * size, rtol=0)

    jax.tree.map(compare, got, want)
