"""Panels against their members one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import sharding
from perl.adapters import tree
from perl.adapters.tunings import Full, LoraTuning
from perl.judges import mixture, panel
from perl.models import decoder, heads
from perl.runs.roles import Role
from perl.system.errors import UserError

BASE = tiny.weights()
BATCH = tiny.ended()


def role(seed, rank=3, full=False, base_id='base1'):
    shift, scale = 0.25 * seed, 1.0 + seed
    head = {'head': tiny.head(seed)}
    if full:
        delta = {**tiny.weights(seed=seed + 10), **head}
        return Role({}, base_id, delta, Full(), shift, scale)
    kind = LoraTuning(rank, 2.0 * rank, targets=tiny.EVERYWHERE)
    delta = {**tiny.adapter(kind=kind, seed=seed), **head}
    return Role(BASE, base_id, delta, kind, shift, scale)


MIXED = (role(0), role(1, full=True), role(2, rank=1), role(3, full=True))


@functools.cache
def alone(arch=tiny.ARCH):
    """Normalised rewards `[M, N, E]` and states of the mixed members, one by one."""
    rows = [BATCH[name] for name in ('tokens', 'positions', 'segments', 'ends')]

    @jax.jit
    def read(params):
        states = decoder.hidden(arch, params, *rows)
        return heads.scalar(params, states), states

    found = [(member, *read(member.bound())) for member in MIXED]
    scores = [(raw - member.shift) / member.scale for member, raw, _ in found]
    return np.stack(scores), np.stack([states for *_, states in found])


score = jax.jit(panel.rewards, static_argnums=0)
member_rewards = jax.jit(panel.member_rewards, static_argnums=0)


@pytest.mark.parametrize(
    'chosen, scan',
    [((0,), False), ((1, 3), True), ((2, 1, 0), True), (range(4), False)],
)
def test_a_panel_is_its_members_one_by_one(chosen, scan):
    arch = tiny.arch(scan=scan)
    made = panel.build([MIXED[i] for i in chosen])
    scores, states = member_rewards(arch, made, BATCH)
    want, want_states = (x[np.array(chosen)] for x in alone())
    np.testing.assert_allclose(scores, want, atol=2e-4)
    np.testing.assert_allclose(states, want_states, atol=2e-3)
    np.testing.assert_allclose(panel.combine(made, scores), want.mean(0), atol=2e-4)


@pytest.mark.parametrize(
    'combine, by_hand',
    [
        ('mean', lambda x: x.mean(0)),
        ('min', lambda x: x.min(0)),
        ('mean_std', lambda x: x.mean(0) - 1.5 * x.std(0)),
    ],
)
def test_how_opinions_are_combined(combine, by_hand):
    made = panel.build(MIXED, combine, 1.5, shift=0.5, scale=2.0)
    got = score(tiny.ARCH, made, BATCH)
    np.testing.assert_allclose(got, (by_hand(alone()[0]) - 0.5) / 2, atol=2e-4)


def test_members_that_agree_are_not_doubted():
    made = panel.build([MIXED[0], MIXED[0]], 'mean_std', 3.0)
    np.testing.assert_allclose(score(tiny.ARCH, made, BATCH), alone()[0][0], atol=1e-3)


def test_a_gate_by_hand():
    rng = np.random.default_rng(0)
    e = rng.normal(size=(2 * 16, 2))
    gate = {'e': jnp.asarray(e, jnp.float32), 'log_tau': jnp.float32(np.log(2.0))}
    members = (MIXED[0], MIXED[2])
    got = score(tiny.ARCH, panel.build(members, 'gate', gate=gate), BATCH)
    scores, states = (x[np.array([0, 2])] for x in alone())
    for n in range(3):
        z = np.concatenate([states[0, n, 0], states[1, n, 0]]).astype(float)
        z /= np.sqrt(np.mean(z**2))
        weights = np.exp(z @ e / 2.0)
        weights /= weights.sum()
        np.testing.assert_allclose(got[n, 0], weights @ scores[:, n, 0], atol=1e-3)


def test_a_fresh_gate_is_the_mean():
    gate = mixture.fresh(tiny.ARCH, 'gate', 4)
    gated = score(tiny.ARCH, panel.build(MIXED, 'gate', gate=gate), BATCH)
    mean = score(tiny.ARCH, panel.build(MIXED), BATCH)
    np.testing.assert_allclose(gated, mean, atol=1e-5)


def dots(made):
    return str(jax.make_jaxpr(panel.rewards, static_argnums=0)(
        tiny.ARCH, made, BATCH)).count('dot_general')  # fmt: skip


def test_members_alike_share_the_products_with_the_base():
    members = [role(seed) for seed in range(3)]
    assert dots(panel.build(members)) == dots(panel.build(members[:2]))
    # one alone is not mapped over: what it computes is what the plain path does
    plain = jax.make_jaxpr(lambda: heads.rewards(tiny.ARCH, MIXED[0].bound(), BATCH))()
    assert dots(panel.build(members[:1])) == str(plain).count('dot_general')
    made = panel.build(members)
    assert made.stacks[0][0] is BASE
    embed = str(jax.make_jaxpr(panel.rewards, static_argnums=0)(
        tiny.ARCH, made, BATCH))  # fmt: skip
    assert 'f32[3,32,16]' not in embed  # no embedding for each member
    assert 'f32[3,16,24]' not in embed  # nor a kernel


@pytest.mark.parametrize(
    'members, options, says',
    [
        ([], {}, 'no members'),
        ([role(0), role(1, base_id='base2')], {}, r'different bases \(base1, base2\)'),
        ([role(0)], {'combine': 'gate'}, 'a gate is needed'),
        ([role(0)], {'combine': 'mole'}, 'a gate is needed to combine by gate or mole'),
        ([role(0)], {'gate': mixture.fresh(tiny.ARCH, 'gate', 1)}, 'and only then'),
    ],
)
def test_panels_that_cannot_be(members, options, says):
    with pytest.raises(UserError, match=says):
        panel.build(members, **options)


def test_on_a_mesh():
    mesh = sharding.make_mesh(2, 1, 2)
    batch = {k: np.concatenate([np.asarray(x)] * 2)[:4] for k, x in BATCH.items()}
    with jax.set_mesh(mesh):
        got = score(tiny.ARCH, panel.build(MIXED), sharding.shard_batch(batch, mesh))
    want = alone()[0].mean(0)
    np.testing.assert_allclose(got, np.concatenate([want, want[:1]]), atol=2e-4)


def test_heads_are_chosen_by_example():
    members = [role(seed) for seed in range(3)]
    stacked = tree.stack([member.delta for member in members])
    ids = jnp.array([2, 0, 1])
    score = jax.jit(lambda params: heads.rewards(tiny.ARCH, params, BATCH))
    one_by_one = np.stack([score(member.bound()) for member in members])
    got = score(tree.bind(BASE, stacked, ids))
    np.testing.assert_allclose(got, one_by_one[ids, np.arange(3)], atol=2e-4)
    full = tree.stack([MIXED[1].delta, MIXED[3].delta])
    with pytest.raises(UserError, match='cannot be chosen by example'):
        tree.bind(BASE, full, ids)
