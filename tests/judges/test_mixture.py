"""Adapters mixed in every block, against the blocks one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import sharding
from perl.adapters import tree
from perl.adapters.tunings import Full, LoraTuning
from perl.judges import mixture, panel
from perl.models import decoder, heads, norms
from perl.models.block import block
from perl.models.layer_kinds import Kind
from perl.models.self_attention import describe
from perl.runs.roles import Role
from perl.system.errors import UserError

KERNELS = ('layers/.*/(q|k|v|o|gate|up|down)',)
BASE = tiny.weights()
BATCH = tiny.ended()


def member(seed, targets=KERNELS, rank=3):
    kind = LoraTuning(rank, 2.0 * rank, targets=targets)
    delta = {**tiny.adapter(kind=kind, seed=seed), 'head': tiny.head(seed)}
    return Role(BASE, 'base1', delta, kind, 0.25 * seed, 1.0 + seed)


TWO = (member(0), member(1, rank=1))


def gates(seed=0, members=2):
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(2, members * 16, members))
    return {'e': jnp.asarray(e, jnp.float32), 'log_tau': jnp.array([0.3, -0.5])}


def mole(members, gate):
    return panel.build(members, 'mole', gate=gate)


gated = jax.jit(panel.gated, static_argnums=0)
score = jax.jit(panel.rewards, static_argnums=0)


def by_hand(members, gate):
    """Final states and shares, with merged weights, block by block."""
    arch = tiny.arch(scan=False)
    rows = describe(arch, BATCH['positions'], BATCH['segments'])
    whole = [
        tree.merge(BASE, {'layers': role.delta['layers']})['layers'] for role in members
    ]
    x, given = decoder.read(arch, BASE, BATCH['tokens'], BATCH['positions']), []
    for depth in range(arch.layers):
        added = []
        for layers in whole:
            own = jax.tree.map(lambda w, at=depth: w[at], layers)
            out = block(arch, own, x, rows, Kind())[0]
            added.append(np.asarray(out - x, np.float64))
        z = np.concatenate(added, -1)
        z /= np.sqrt(np.mean(z**2, -1, keepdims=True) + 1e-6)
        logits = z @ gate['e'][depth] / np.exp(gate['log_tau'][depth])
        g = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        given.append(g)
        x = x + sum(g[..., [i]] * y for i, y in enumerate(added)).astype(np.float32)
    return norms.normed(arch, x, BASE, 'norm'), np.array(given)


@pytest.mark.parametrize('scan, remat', [(False, False), (True, False), (True, True)])
def test_every_block_is_mixed(scan, remat):
    got, shares = gated(tiny.arch(scan=scan, remat=remat), mole(TWO, gates()), BATCH)
    states, given = by_hand(TWO, gates())
    ends = np.asarray(states)[np.arange(3), BATCH['ends'][:, 0]]
    said = [heads.scalar(role.delta, ends) for role in TWO]
    said = [(raw - x.shift) / x.scale for raw, x in zip(said, TWO, strict=True)]
    np.testing.assert_allclose(got[:, 0], np.mean(said, 0), atol=2e-4)
    seen = np.asarray(BATCH['segments']) >= 0
    np.testing.assert_allclose(shares, given[:, seen].mean((0, 1)), atol=1e-4)


def test_a_fresh_gate_shares_alike():
    fresh = mixture.fresh(tiny.ARCH, 'mole', 2)
    got, shares = gated(tiny.ARCH, mole(TWO, fresh), BATCH)
    np.testing.assert_allclose(shares, 0.5, atol=1e-6)
    want, _ = gated(tiny.ARCH, mole(TWO[::-1], fresh), BATCH)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_members_alike_are_their_own_mixture():
    role = member(0)
    plain = jax.jit(lambda: heads.rewards(tiny.ARCH, role.bound(), BATCH))()
    got = score(tiny.ARCH, mole((role, role), gates()), BATCH)
    np.testing.assert_allclose(got, plain, atol=2e-4)


def test_padding_and_batch_mates_change_nothing():
    made = mole(TWO, gates())
    wide = {k: jnp.pad(x, ((0, 0), (4, 0))) for k, x in BATCH.items() if k != 'ends'}
    wide['segments'] = wide['segments'].at[:, :4].set(-1)
    wide['ends'] = BATCH['ends'] + 4
    want = gated(tiny.ARCH, made, BATCH)
    got = gated(tiny.ARCH, made, wide)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-4)
    alone = score(tiny.ARCH, made, {k: x[:1] for k, x in BATCH.items()})
    np.testing.assert_allclose(alone, want[0][:1], atol=2e-4)


def test_every_gate_learns():
    made = mole(TWO, gates())

    def loss(gate):
        new = dataclasses.replace(made, gate=gate)
        return jnp.sum(panel.gated(tiny.ARCH, new, BATCH)[0] ** 2)

    grads = jax.jit(jax.grad(loss))(made.gate)
    for grad in (grads['e'], grads['log_tau']):
        assert np.all(np.abs(grad).reshape(2, -1).max(1) > 0)  # of both layers


def test_on_a_mesh():
    mesh = sharding.make_mesh(2, 1, 2)
    batch = {k: np.concatenate([np.asarray(x)] * 2)[:4] for k, x in BATCH.items()}
    with jax.set_mesh(mesh):
        rows = sharding.shard_batch(batch, mesh)
        got = score(tiny.ARCH, mole(TWO, gates()), rows)
    want = score(tiny.ARCH, mole(TWO, gates()), BATCH)
    np.testing.assert_allclose(got[:3], want, atol=2e-4)


@pytest.mark.parametrize(
    'members',
    [
        TWO[:1],
        (member(0), member(1, targets=('layers/attention/q',))),
        (member(0, targets=tiny.EVERYWHERE), member(1, targets=tiny.EVERYWHERE)),
        (Role({}, 'base1', {**BASE, 'head': tiny.head()}, Full()),) * 2,
    ],
    ids=['alone', 'other targets', 'embedding', 'full'],
)
def test_what_cannot_be_mixed(members):
    gate = mixture.fresh(tiny.ARCH, 'mole', len(members))
    with pytest.raises(UserError, match='mole mixes two or more adapters'):
        mole(members, gate)
