"""The preference losses of a stage by hand, and where gradients go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny

from perl.data import by_example, examples
from perl.data.records import Comparison
from perl.data.tokenizers import Bytes
from perl.judges import mixture, panel
from perl.models import architecture, heads
from perl.runs.roles import Role
from perl.stages import gate as gates
from perl.stages import reward
from perl.system.errors import UserError
from perl.training import optimizer
from perl.training.step import init, step

REWARDS = jnp.array([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]])
PAIRS = ((0, 1), (0, 2), (1, 2))


def by_hand(margins=(0, 0), preferences=(1, 1), smoothing=0.0):
    total = 0.0
    for row, margin, sure in zip(
        np.asarray(REWARDS, float), margins, preferences, strict=True
    ):
        right = sure * (1 - 2 * smoothing) + smoothing
        for i, j in PAIRS:
            ahead, margin_ij = row[i] - row[j], margin * (j - i)
            total -= right * scipy.special.log_expit(ahead - margin_ij) / 3
            total -= (1 - right) * scipy.special.log_expit(-ahead - margin_ij) / 3
    return total


STRENGTHS = {
    'margins': jnp.array([0.5, 0.0]),
    'preferences': jnp.array([0.9, 0.2]),
}


@pytest.mark.parametrize(
    'batch, options, want',
    [
        ({}, {}, by_hand()),
        ({}, {'smoothing': 0.1}, by_hand(smoothing=0.1)),
        (STRENGTHS, {}, by_hand((0.5, 0), (0.9, 0.2))),
        (STRENGTHS, {'margins': False}, by_hand((0, 0), (0.9, 0.2))),
        (STRENGTHS, {'smoothing': 0.2}, by_hand((0.5, 0), (0.9, 0.2), 0.2)),
    ],
)
def test_a_ranking_by_hand(batch, options, want):
    total, (count, sums) = reward.ranked(REWARDS, batch, **options)
    assert float(total) == pytest.approx(want, rel=1e-5)
    # a label that is more likely wrong than right is one for the other order
    right = 1 + (1 - 1 / 3 if 'preferences' in batch else 1 / 3)
    assert count == 2 and float(sums['accuracy'][0]) == pytest.approx(right)


def test_labelled_ties_do_not_count_in_the_accuracy():
    batch = {'preferences': jnp.array([0.5, 1.0])}
    _, (count, sums) = reward.ranked(REWARDS, batch)
    right, decided = sums['accuracy']
    assert (count, decided) == (2, 1) and float(right) == pytest.approx(1 / 3)


def test_two_completions_are_a_pair():
    total, _ = reward.ranked(REWARDS[:, :2], {})
    want = -scipy.special.log_expit(np.array([0.5, -2.0])).sum()
    assert float(total) == pytest.approx(want, rel=1e-5)


RANKINGS = [
    Comparison('ab', ('c', 'dd', 'e'), margin=0.5, preference=0.9),
    Comparison('b', ('ee', 'f'), margin=0.25, preference=0.25),
]


@pytest.mark.parametrize('share', ['never', 'always'])
def test_rankings_of_different_lengths_count_their_own_pairs(share):
    data, _ = examples.encode(RANKINGS, Bytes(), 8, 8)
    delta = {**tiny.adapter(), 'head': tiny.head()}

    @jax.jit
    def loss(delta, batch):
        batch = batch | {'tokens': batch['tokens'] % tiny.ARCH.vocabulary}
        return reward.bradley_terry(delta, tiny.weights(), batch, None, arch=tiny.ARCH)

    def of(rows):
        batch = by_example.collate(share, data, rows, 8)
        return jax.value_and_grad(loss, has_aux=True)(delta, batch)

    (total, (count, sums)), grads = of([0, 1])
    alone = [of([row]) for row in (0, 1)]
    assert count == 2
    assert float(total) == pytest.approx(sum(float(x[0][0]) for x in alone), rel=1e-5)
    for name in ('accuracy', 'margin'):
        want = sum(float(x[0][1][1][name][0]) for x in alone)
        assert float(sums[name][0]) == pytest.approx(want, rel=1e-4)
    tiny.close(grads, jax.tree.map(jnp.add, alone[0][1], alone[1][1]), 1e-5)


def encoded(**strengths):
    record = Comparison('ab', ('c', 'de', 'f'), **strengths)
    return examples.encode([Comparison('x', ('y', 'z', 'w')), record], Bytes(), 8, 8)[0]


@pytest.mark.parametrize('share', ['never', 'always'])
def test_strengths_go_into_the_batch(share):
    data = encoded(margin=0.5, preference=0.25)
    batch = by_example.collate(share, data, [1, 0, 1], 16)
    assert batch['margins'].tolist() == [0.5, 0, 0.5]
    assert batch['preferences'].tolist() == [0.25, 1, 0.25]
    assert batch['margins'].dtype == np.float32
    assert batch['tokens'].shape[:2] == (3, 1 if share == 'always' else 3)


def test_what_is_no_comparison_has_no_strengths():
    data, _ = examples.encode(['a', 'b'], Bytes(), 8, 8)
    assert data.margins is None and data.preferences is None
    data, _ = examples.encode([], Bytes(), 8, 8)
    assert data.margins is None


@pytest.mark.parametrize(
    'strengths, says',
    [
        ({'margin': -1.0}, 'row 2: the margin -1.0 is not a number of at least 0'),
        ({'margin': float('nan')}, 'row 2: the margin nan'),
        ({'preference': 1.5}, 'row 2: the preference 1.5 is not between 0 and 1'),
    ],
)
def test_strengths_that_cannot_be(strengths, says):
    with pytest.raises(UserError, match=says):
        encoded(**strengths)


def comparisons():
    data = examples.encode(
        [Comparison('ab', ('c', 'dd')), Comparison('b', ('ee', 'f'))], Bytes(), 8, 8
    )[0]
    batch = by_example.collate('never', data, [0, 1], 8)
    return batch | {'tokens': batch['tokens'] % tiny.ARCH.vocabulary}


def test_a_probe_updates_its_head_alone():
    delta = {**tiny.adapter(), 'head': tiny.head()}
    loss = functools.partial(reward.bradley_terry, arch=tiny.ARCH)
    config = type('Optimizer', (), {
        'learning_rate': 0.1, 'warmup': 0, 'schedule': 'constant', 'name': 'adamw',
        'b1': 0.9, 'b2': 0.99, 'eps': 1e-8, 'weight_decay': 0.1, 'clip': 1.0,
    })  # fmt: skip
    declared = {
        **tiny.LORA.declare(architecture.parameters(tiny.ARCH)),
        'head': heads.head_leaves(tiny.ARCH.width),
    }
    update = optimizer.only(optimizer.make(config, 2, declared), 'head')
    state = init(delta, update)
    run = functools.partial(step, loss=reward._probing(loss), optimizer=update)
    after, metrics = jax.jit(run)(state, tiny.weights(), comparisons())
    kept = {name: part for name, part in after['trainable'].items() if name != 'head'}
    tiny.close(kept, tiny.adapter(), 0)
    moved = after['trainable']['head']['kernel'] - delta['head']['kernel']
    assert np.abs(moved).min() > 0 and metrics['grad_norm'].value > 0
    # moments of the head only
    assert sum(x.size for x in jax.tree.leaves(state['opt'])) < 3 * 17 + 3


def test_a_probe_has_the_gradient_of_the_head():
    loss = functools.partial(reward.bradley_terry, arch=tiny.ARCH)
    base, batch = tiny.weights(), comparisons()

    @jax.jit
    def both(delta):
        return [
            jax.grad(lambda d, f=f: f(d, base, batch, None)[0])(delta)
            for f in (loss, reward._probing(loss))
        ]

    whole, probe = both({**tiny.adapter(), 'head': tiny.head()})
    tiny.close(probe['head'], whole['head'], 1e-5)
    assert not any(np.any(x) for x in jax.tree.leaves(probe['layers']))
    assert any(np.any(x) for x in jax.tree.leaves(whole['layers']))


def test_the_loss_of_a_gate_by_hand():
    members = [
        Role(tiny.weights(), 'base1', {**tiny.adapter(seed=i), 'head': tiny.head(i)},
             tiny.LORA, 0.1 * i, 1.0 + i) for i in range(2)
    ]  # fmt: skip
    batch = comparisons()
    rng = np.random.default_rng(0)
    gate = {'e': jnp.asarray(rng.normal(size=(32, 2)), jnp.float32)}
    gate['log_tau'] = jnp.float32(0.5)
    made = panel.build(members, 'gate', gate=gate)
    learn = functools.partial(
        gates.loss, arch=tiny.ARCH, name='bradley_terry', balance=0.5, smoothing=0.1
    )

    @jax.jit
    def both(gate):
        parts = panel.member_rewards(tiny.ARCH, made, heads.rows(batch))
        grads, (total, _) = jax.grad(
            lambda g: (lambda x: (x[0], x))(learn(g, made, batch, None)), has_aux=True
        )(gate)
        return parts, mixture.shares(gate, parts[1]), total, grads

    (scores, _), shares, total, grads = both(gate)
    mixed = np.sum(np.asarray(shares) * np.asarray(scores), 0).reshape(2, 2)
    lead = mixed[:, 0] - mixed[:, 1]
    want = -(0.9 * scipy.special.log_expit(lead) + 0.1 * scipy.special.log_expit(-lead))
    q = np.asarray(shares).mean((1, 2))
    assert q.sum() == pytest.approx(1, abs=1e-6)
    assert float(total) == pytest.approx(
        want.sum() - 2 * 0.5 * np.log(q).sum(), rel=1e-4
    )
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads))
