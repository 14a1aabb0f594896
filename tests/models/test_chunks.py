"""Numbers of slots in chunks against the same from all logits at once."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl import sharding
from perl.adapters import tree
from perl.losses import kl, language
from perl.models import architecture, chunks, decoder, likelihood
from perl.rollout.responses import Responses, Rollout
from perl.stages.policy.iteration import score_program
from perl.stages.table import STAGES
from perl.system.collectives import collectives

SLOTS = (3, 7)
RNG = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RNG.normal(size=(3, *SLOTS)), jnp.float32)
TARGETS = tiny.rows(SLOTS, vocabulary=28)[0]
ARCHITECTURES = {
    'plain': {},
    'tied': {'tied': True},
    'capped': {'tied': True, 'logit_cap': 2.0},
    'padded': {'pieces': 30, 'holes': (29,)},
    'scanned': {'scan': True, 'remat': True},
}


@pytest.fixture
def few(monkeypatch):
    """Six tokens at a time: two slots of the three rows, and one of padding."""
    monkeypatch.setattr(chunks, '_LOGITS', 0)
    monkeypatch.setattr(chunks, '_TOKENS', 6)


def states(arch, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(*SLOTS, arch.width))
    return jnp.asarray(drawn, arch.dtype)


def plain(arch, params, reference, x, y):
    """Log-probs, entropies and divergences as they are defined."""
    logits, others = (
        decoder.unembed(arch, *pair) for pair in ((params, x), (reference, y))
    )
    return (
        language.log_probs(logits, TARGETS, 0.7),
        language.entropy(logits, 0.7),
        kl.full(logits, others, 0.7),
    )


def ours(arch, params, reference, x, y):
    scores = likelihood.token_scores(arch, params, x, TARGETS, 0.7)
    both = (params, reference), (x, y)
    return *scores, likelihood.divergence(arch, *both, 0.7)


def total(numbers):
    return sum(jnp.sum(w * x) for w, x in zip(WEIGHTS, numbers, strict=True))


def slopes(function, arch, base, delta, reference, trained):
    """The numbers, and the gradients with respect to the states alone, or to the
    adapters too."""

    def loss(states, delta):
        params = tree.bind(base, delta)
        numbers = function(arch, params, reference, *states)
        return total(numbers), numbers

    arguments = (0, 1) if trained else (0,)
    inputs = (states(arch), states(arch, 1)), delta
    run = jax.jit(jax.grad(loss, arguments, has_aux=True))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(run(*inputs)))
    return run(*inputs)


@pytest.mark.parametrize('trained', [False, True], ids=['states', 'adapters'])
@pytest.mark.parametrize('name', ARCHITECTURES)
def test_values_and_gradients_are_those_of_all_logits(name, trained, few):
    arch = tiny.arch(**ARCHITECTURES[name])
    base, delta = tiny.weights(arch, dtype=arch.dtype), tiny.adapter(arch)
    reference = tree.bind(base, tiny.adapter(arch, seed=4))
    (want, numbers), (got, found) = (
        slopes(function, arch, base, delta, reference, trained)
        for function in (plain, ours)
    )
    tiny.close(found, numbers, atol=1e-6)
    tiny.close(got, want)


@pytest.mark.parametrize('rounding', [{'precision': 'bfloat16'}, {'dtype': 'bfloat16'}])
def test_rounded_products_are_as_far_from_the_exact_gradient(rounding, few):
    """Other numbers are rounded, such as the slopes, but not more coarsely."""
    arch = tiny.arch(**rounding)
    base, delta = tiny.weights(arch, dtype=arch.dtype), tiny.adapter(arch)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), base)

    def gradient(function, arch, base):
        inputs = base, delta, tree.bind(base, tiny.adapter(arch, seed=4))
        leaves = jax.tree.leaves(slopes(function, arch, *inputs, False)[0])
        return np.concatenate([np.ravel(x).astype(float) for x in leaves])

    want = gradient(plain, tiny.ARCH, wide)
    theirs, got = (
        np.sqrt(np.mean((gradient(function, arch, base) - want) ** 2))
        for function in (plain, ours)
    )
    assert 0 < got < 1.5 * theirs < 0.01 * np.abs(want).max()


def test_full_tuning_gets_the_gradient_of_the_whole_output_layer(few):
    arch, y = tiny.arch(tied=True), states(tiny.ARCH, 1)
    params, reference = tiny.weights(arch), tiny.weights(arch, seed=5)

    def loss(params, function):
        numbers = function(arch, params, reference, states(arch), y)
        return total(numbers)

    got, want = (jax.grad(loss)(params, function) for function in (ours, plain))
    tiny.close(got, want)
    assert np.abs(got['embed']).max() > 0


def test_small_logits_take_no_loop():
    """And those of a few rows more than is held at a time take one."""
    run = functools.partial(likelihood.token_log_probs, tiny.ARCH, tiny.weights())

    def program(tokens):
        x, targets = jnp.zeros((1, tokens, 16)), jnp.zeros((1, tokens), jnp.int32)
        return str(jax.make_jaxpr(run)(x, targets))

    least = chunks._LOGITS // tiny.ARCH.vocabulary
    assert 'scan' not in program(least)
    assert 'scan' in program(least + 1)


def test_the_pass_backward_computes_no_logit_again(few):
    """Where the output layer is not trained: a product for the logits and one for each
    number that has a gradient. An entropy that is only shown has none."""
    arch = tiny.arch()
    params = tiny.weights(arch)

    def loss(states, shown):
        scores, entropy = likelihood.token_scores(arch, params, states, TARGETS)
        total = jnp.sum(scores * WEIGHTS[0])
        return total if shown else total + jnp.sum(entropy * WEIGHTS[1]), entropy

    def products(shown):
        run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
        return run.lower(states(arch), shown).compile().as_text().count(' dot(')

    assert [products(True), products(False)] == [2, 3]


def test_dropout_differs_from_chunk_to_chunk(few):
    """A mask of dropout that came again in every chunk would be the same noise."""
    arch = tiny.arch()
    delta = jax.tree.map(
        lambda x: x.with_dropout(0.5),
        tiny.adapter(arch),
        is_leaf=lambda x: hasattr(x, 'with_dropout'),
    )
    params = tree.bind(tiny.weights(arch), delta, key=jax.random.key(0))
    x = jnp.broadcast_to(states(arch)[:, :1], (*SLOTS, arch.width))
    same = jnp.zeros(SLOTS, jnp.int32)
    got = np.asarray(jax.jit(likelihood.token_log_probs, static_argnums=0)(
        arch, params, x, same
    ))  # fmt: skip
    first, second = got[:, 0], got[:, 2]
    assert np.abs(first - second).max() > 1e-3


# --- whole steps, compiled for arrays that are never made

LARGE = tiny.arch(vocabulary=50_000, layers=1)
ROWS, LENGTH = 8, 512
LOGITS = ROWS * LENGTH * LARGE.vocabulary  # of all tokens of a batch


def experiment():
    """Stages with batches of 4,096 tokens; every kind of number is asked for."""
    config = configs.experiment('large')
    config.lengths.update(prompt=LENGTH // 2, response=LENGTH // 2)
    tuning = configs.tuning_config('lora', 2)
    config.reward.tuning = tuning
    config.sft.update(batch_size=ROWS, tuning=tuning)
    config.whole = configs.stage_config(
        'sft', 1e-3, batch_size=ROWS, tuning=configs.tuning_config('full')
    )
    config.dpo = configs.dpo_config(1e-3, batch_size=ROWS // 2, tuning=tuning)
    config.policy = configs.policy_config(
        1e-3,
        algorithm='rloo',
        batch_size=2 * ROWS,  # half of a row is a response
        minibatches=1,
        entropy_coefficient=0.01,
        kl_estimator='full',
        kl_in='loss',
        tuning=tuning,
    )
    return config


def largest(program):
    """The most elements of a float array in a compiled program."""
    shapes = re.findall(r'(?:f32|bf16)\[([\d,]+)\]', program.as_text())
    return max(np.prod([int(n) for n in x.split(',')]) for x in shapes)


def compiled(name):
    config = experiment()
    stage = 'policy' if name == 'scoring' else name
    plan = STAGES[config[stage].kind].plan(LARGE, config, stage)
    if name == 'scoring':
        return scoring(config, plan)
    return plan.update().lower(*plan.abstract()).compile()


def scoring(config, plan):
    """The scores by all roles, of a rollout."""
    state, frozen, batch = plan.abstract()
    rows, response = batch.mask.shape
    responses = Responses(
        jax.ShapeDtypeStruct((rows, response), jnp.int32),
        batch.log_probs,
        batch.prompt_lengths,
        jax.ShapeDtypeStruct((rows,), jnp.bool_),
    )
    rollout = Rollout(batch.tokens, batch.prompt_lengths, responses)
    score = score_program(LARGE, config.policy)
    return score.lower(state['trainable'], frozen, rollout).compile()


@pytest.mark.parametrize('name', ['sft', 'whole', 'dpo', 'policy', 'scoring'])
def test_no_program_has_the_logits_of_a_batch(name):
    program = compiled(name)
    assert largest(program) <= LOGITS / 8
    assert program.memory_analysis().temp_size_in_bytes < 4 * LOGITS / 2


def test_devices_of_a_mesh_keep_their_rows_and_agree(monkeypatch):
    """Chunks are of slots, so that each device has its rows in all of them, and as
    large as a device alone may have them."""
    monkeypatch.setattr(chunks, '_LOGITS', 0)
    monkeypatch.setattr(chunks, '_TOKENS', 2)
    arch, mesh = tiny.arch(), sharding.make_mesh(data=4, tensor=2)
    params = tiny.weights(arch)
    drawn = np.random.default_rng(0).normal(size=(4, 7, arch.width))
    x, targets = jnp.asarray(drawn, jnp.float32), tiny.rows((4, 7))[0]

    def loss(states, targets):
        scores, entropy = likelihood.token_scores(arch, params, states, targets)
        return jnp.sum(scores * entropy)

    run = jax.value_and_grad(loss)
    with jax.set_mesh(mesh):
        rows = sharding.shard_batch({'x': x, 'targets': targets}, mesh)
        program = jax.jit(run).lower(rows['x'], rows['targets']).compile()
        got = program(rows['x'], rows['targets'])
    tiny.close(got, jax.jit(run)(x, targets))
    assert 'f32[1,2,' in program.as_text()  # of a device: one row, two slots


@pytest.mark.parametrize('tied', [False, True], ids=['own', 'tied'])
def test_the_output_layer_is_gathered_once(tied, monkeypatch):
    """And not in every chunk, where it is cut over the devices that share a batch."""
    monkeypatch.setattr(chunks, '_LOGITS', 0)
    monkeypatch.setattr(chunks, '_TOKENS', 2)
    arch, mesh = tiny.arch(tied=tied), sharding.make_mesh(fsdp=8)
    places = sharding.shardings(architecture.parameters(arch), mesh)
    params = jax.device_put(tiny.weights(arch), places)
    x, targets = np.ones((8, 7, arch.width), np.float32), np.ones((8, 7), np.int32)

    def loss(states, params, targets):
        return jnp.sum(likelihood.token_log_probs(arch, params, states, targets))

    with jax.set_mesh(mesh):
        rows = sharding.shard_batch({'x': x, 'targets': targets}, mesh)
        run = jax.jit(jax.grad(loss))
        text = run.lower(rows['x'], params, rows['targets']).compile().as_text()
    found = collectives(text, mesh.shape)
    assert [(x.kind, x.size, x.times) for x in found] == [
        ('all-gather', 4 * arch.vocabulary * arch.width, 1)
    ]
