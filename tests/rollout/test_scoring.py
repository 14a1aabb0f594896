"""Responses behind one copy of their prompt, against rows of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import sharding
from perl.adapters import tree
from perl.judges import panel
from perl.models.shared_rows import together
from perl.rollout import scoring
from perl.runs.roles import Role

P, R, SAMPLES = 5, 6, 4
ARCHITECTURES = {
    'plain': {},
    'scanned': {'scan': True},
    'window': {'windows': (3,)},
    'learned': {'positions': 'learned'},
}


def episodes():
    """Two prompts of four responses each: tokens, lengths, and those of responses."""
    rng = np.random.default_rng(0)
    prompts = np.repeat(rng.integers(3, 32, (2, P)), SAMPLES, axis=0)
    responses = rng.integers(3, 32, (2 * SAMPLES, R))
    tokens = np.concatenate([prompts, responses], axis=1)
    ends = jnp.asarray(rng.integers(1, R + 1, 2 * SAMPLES))
    return jnp.asarray(tokens), jnp.repeat(jnp.array([5, 2]), SAMPLES), ends


def numbers(arch, params, critic, judges, samples):
    """All that a scored rollout has."""
    tokens, lengths, ends = episodes()
    rows = tokens, lengths, R
    scores = scoring.scores(arch, params, *rows, 0.7, samples)
    apart = scoring.divergence(arch, params, critic, *rows, 0.7, samples)
    values = scoring.values(arch, critic, *rows, samples)
    rewards = scoring.rewards(arch, judges, tokens, lengths, ends, R, samples)
    return *scores, apart, values, rewards


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_a_shared_prompt_changes_no_number_and_no_gradient(name):
    arch = tiny.arch(**ARCHITECTURES[name])
    assert together(arch.width, SAMPLES, P, R) == SAMPLES
    base, head = tiny.weights(arch), tiny.head()
    critic = {**tree.bind(base, tiny.adapter(arch, seed=5)), 'head': head}
    judge = {**tiny.adapter(arch, seed=7), 'head': tiny.head(8)}
    judges = panel.build([Role(base, 'base', judge, tiny.LORA, 0.25, 2.0)])
    weights = np.random.default_rng(1).normal(size=(2 * SAMPLES, R))

    def loss(delta, samples):
        got = numbers(arch, tree.bind(base, delta), critic, judges, samples)
        tokens = sum(got[:-1]) * jnp.asarray(weights, jnp.float32)
        return jnp.sum(tokens), got

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    want, got = (run(tiny.adapter(arch), samples) for samples in (1, SAMPLES))
    tiny.close(got, want)


def test_a_response_does_not_see_the_others():
    arch, params = tiny.ARCH, tiny.weights()
    tokens, lengths, _ = episodes()
    score = jax.jit(scoring.log_probs, static_argnums=(0, 4, 5, 6))
    before = score(arch, params, tokens, lengths, R, 1.0, SAMPLES)
    changed = tokens.at[1, P:].set(7)
    after = score(arch, params, changed, lengths, R, 1.0, SAMPLES)
    others = np.arange(2 * SAMPLES) != 1
    np.testing.assert_array_equal(before[others], after[others])
    assert np.abs(before[1] - after[1]).max() > 1e-3


def test_less_is_multiplied_where_a_prompt_is_shared():
    arch = tiny.arch(width=64, layers=6)
    params, shape = tiny.weights(arch), (4, 96)

    def flops(samples):
        def run(tokens, lengths):
            return scoring.log_probs(arch, params, tokens, lengths, 32, 1.0, samples)

        rows = (
            jax.ShapeDtypeStruct(shape, jnp.int32),
            jax.ShapeDtypeStruct((4,), 'int32'),
        )
        return jax.jit(run).lower(*rows).compile().cost_analysis()['flops']

    assert flops(4) < 0.7 * flops(1)


def test_joined_rows_divide_over_the_devices_of_a_mesh():
    """Two responses to a prompt are behind it, where each of four devices has two; all
    four in one row would leave two rows, which every device would compute."""
    arch, mesh = tiny.arch(), sharding.make_mesh(data=4)
    params, (tokens, lengths, _) = tiny.weights(arch), episodes()

    def run(samples):
        def score(tokens, lengths):
            return scoring.log_probs(arch, params, tokens, lengths, R, 1.0, samples)

        rows = sharding.shard_batch((tokens, lengths), mesh)
        program = jax.jit(score).lower(*rows).compile()
        return program(*rows), program.cost_analysis()['flops']

    with jax.set_mesh(mesh):
        (want, apart), (got, joined) = run(1), run(SAMPLES)
    tiny.close(got, want)
    assert joined < apart
