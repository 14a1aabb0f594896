"""One iteration on a tiny decoder: what its updates begin from, and its metrics."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl import sharding
from perl.data.records import Dataset
from perl.judges import Judge, panel
from perl.models.attention import plain as plain_attention
from perl.rollout import sampler
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.stages.policy import iteration, stage
from perl.system.errors import UserError


class Numbers:
    """A tokenizer whose text is the ids in decimal; responses rarely end."""

    size, pad, bos, eos, fingerprint = tiny.ARCH.vocabulary, 0, 1, 2, 'numbers'
    adds_bos = True

    def encode(self, text, start=False):
        return [int(word) for word in text.split()]

    def decode(self, ids):
        return ' '.join(map(str, ids))

    def unknown(self, text, ids):
        return 0


ARCH = tiny.arch(scan=True)


def prepared(arch=ARCH, **changes):
    """A trainer, its first state and the mesh."""
    config = configs.experiment('iteration')
    config.lengths.update(prompt=8, response=8)
    section = {
        'tuning': configs.tuning_config(rank=3, alpha=6.0, targets=tiny.EVERYWHERE),
        'start': 'base',
        'value_start': 'base',
        'batch_size': 16,
        'epochs': 1,
        'minibatches': 1,
        'steps': 2,
        'missing_eos_penalty': 5.0,
        **changes,
    }
    rate = section.pop('rate', 1e-6)
    config.policy = configs.policy_config(rate, **section)
    config.stages = ('policy',)
    rng = np.random.default_rng(0)
    texts = [' '.join(map(str, rng.integers(3, 32, n % 6 + 2))) for n in range(32)]
    run = Run(
        config,
        pathlib.Path('nowhere'),
        sharding.make_mesh(),
        Dataset('numbers', prompts={'train': texts}),
        Numbers(),
        arch,
    )
    run.use_base(tiny.weights(arch))
    roles = stage.assemble(run, 'policy')
    delta = {**tiny.adapter(arch, seed=7), 'head': tiny.head()}
    reward = Role(run.base, run.base_id, delta, tiny.LORA)
    judge = Judge('reward', None, panel=panel.build([reward]))
    trainer, state = stage.prepare(run, 'policy', roles, judge)
    return trainer, state, run.mesh


def first(**changes):
    """The metrics of the first iteration."""
    trainer, state, mesh = prepared(**changes)
    with jax.set_mesh(mesh):
        return trainer.iterate(state, 0)[1]


@functools.cache
def exact():
    """The same of the defaults, in exact products."""
    return first()


LOSSES = ('policy_loss', 'value_loss', 'policy_entropy', 'loss', 'clip_fraction')


@pytest.mark.parametrize(('algorithm', 'minibatches'), [('ppo', 16), ('grpo', 4)])
def test_metrics_are_means_over_tokens_whatever_the_minibatches(algorithm, minibatches):
    whole = exact() if algorithm == 'ppo' else first(algorithm=algorithm)
    parts = first(algorithm=algorithm, minibatches=minibatches)
    for name in LOSSES:
        if name in whole:
            np.testing.assert_allclose(
                parts[name], whole[name], rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize(
    'numbers', [{'dtype': 'bfloat16'}, {'precision': 'bfloat16'}], ids=str
)
def test_the_ratio_is_1_before_any_update_where_the_sampler_rounds(numbers):
    """The trainer scores its own tokens: no token is clipped, no KL is noise."""
    row = first(
        arch=tiny.arch(**numbers, scan=True), rate=1e-12 if 'dtype' in numbers else 1e-6
    )
    assert row['clip_fraction'] == 0
    assert abs(row['update_kl']) < 1e-6
    assert row['kl'] == 0 and row['penalty_k1'] == 0
    assert 0 <= row['sampler_gap'] < 0.1


def test_exact_arithmetic_needs_no_other_pass():
    row = exact()
    assert 'sampler_gap' not in row
    assert row['clip_fraction'] == 0 and row['update_kl'] < 1e-9
    assert row['check_ratio'] < 1e-5 and row['check_kl'] < 1e-5


@pytest.mark.parametrize(
    ('slots', 'shape', 'rows'),
    [(0, (1, 1, 1), 16), (5, (1, 1, 1), 5), (5, (2, 2, 2), 8), (99, (2, 2, 2), 16)],
)
def test_rows_that_are_sampled_together(slots, shape, rows):
    section = configs.policy_config(1e-3, batch_size=16, rollout_slots=slots)
    assert iteration.rollout_rows(section, sharding.make_mesh(*shape)) == rows


@pytest.mark.parametrize('algorithm', ['ppo', 'rloo'])
def test_a_rollout_in_fewer_slots_is_that_of_the_policy(algorithm):
    """The sampler's own log-probs are the old ones."""
    row = first(algorithm=algorithm, rollout_slots=5)
    assert 'sampler_gap' not in row
    assert row['clip_fraction'] == 0 and row['update_kl'] < 1e-9
    assert row['check_ratio'] < 1e-5 and row['check_kl'] < 1e-5


def test_a_sampler_that_ignores_the_updates_is_found(monkeypatch):
    """A fresh adapter changes nothing, so that only the second rollout can tell."""
    plain = sampler.sample

    def stale(arch, params, *rest):
        return plain(arch, tiny.weights(arch), *rest)

    monkeypatch.setattr(sampler, 'sample', stale)
    trainer, state, mesh = prepared(rate=3e-2)
    with jax.set_mesh(mesh):
        state, _ = trainer.iterate(state, 0)
        with pytest.raises(UserError, match='sampler and trainer differ'):
            trainer.iterate(state, 1)


def test_a_coefficient_that_overflows_is_named():
    """Not called an adapter that is not bound."""
    trainer, state, mesh = prepared(kl_coefficient=1e30)
    with jax.set_mesh(mesh), pytest.raises(UserError, match='kl_coefficient'):
        trainer.iterate(state, 0)


@pytest.fixture(params=[10, 7], ids=['TF32', 'bfloat16'])
def accelerator(request, monkeypatch):
    """Products whose operands are rounded, unless `highest` is asked for."""

    def rounded(product):
        def run(*args, **options):
            if jax.config.jax_default_matmul_precision != 'highest':
                args = [
                    jax.lax.reduce_precision(x, 8, request.param)
                    if getattr(x, 'dtype', None) == 'float32'
                    else x
                    for x in args
                ]
            return product(*args, **options)

        return run

    monkeypatch.setattr(jax.lax, 'dot_general', rounded(jax.lax.dot_general))
    monkeypatch.setattr(plain_attention, '_product', rounded(plain_attention._product))


def test_the_highest_precision_is_exact_on_an_accelerator(accelerator):
    row = first()
    assert row['check_ratio'] < 1e-5 and 'sampler_gap' not in row


def test_rounded_products_are_healthy_where_the_config_wants_them(accelerator):
    row = first(arch=tiny.arch(precision='default', scan=True))
    assert abs(row['value_loss'] - exact()['value_loss']) > 1e-5, 'nothing was rounded'
    assert row['check_ratio'] < 0.1 and row['clip_fraction'] == 0


@pytest.mark.parametrize('fault', ['temperature', 'pad', 'prompt'])
@pytest.mark.parametrize('accelerator', [7], ids=['bfloat16'], indirect=True)
def test_gross_faults_are_found_beneath_rounding(accelerator, monkeypatch, fault):
    plain = sampler.sample

    def faulty(arch, params, tokens, lengths, key, sampling, samples):
        if fault == 'temperature':
            sampling = dataclasses.replace(sampling, temperature=0.5)
        else:  # a pad that is seen, or a token of the prompt that is not
            lengths = lengths + (1 if fault == 'pad' else -1)
        return plain(arch, params, tokens, lengths, key, sampling, samples)

    monkeypatch.setattr(sampler, 'sample', faulty)
    with pytest.raises(UserError, match='sampler and trainer differ'):
        first(arch=tiny.arch(precision='default', scan=True))
