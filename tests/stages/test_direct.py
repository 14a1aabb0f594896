"""The stage's loss against whole rows scored one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl.adapters import tree
from perl.adapters.network import Network
from perl.data import by_example, examples, predictions
from perl.data.records import Comparison
from perl.data.tokenizers.vocabularies import Bytes
from perl.models import decoder
from perl.stages import direct, dpo
from perl.stages.frozen import Frozen

BASE, POLICY, REFERENCE = tiny.weights(), tiny.adapter(), tiny.adapter(seed=4)
FROZEN = Frozen(policy=BASE, reference=Network(BASE, REFERENCE))
NUMBERS = direct.Numbers(beta=0.2, label_smoothing=0.1)
SURE = direct.Numbers(beta=0.2)
PROMPT, ENDS = 3, np.array([[8, 6], [7, 9]])  # slots of a prompt, of whole rows


def comparisons():
    """Two comparisons of two completions, ragged."""
    tokens, positions = tiny.rows((4, 9))
    slots, ends = np.arange(9), ENDS.reshape(-1, 1)
    batch = {
        'tokens': np.asarray(tokens),
        'positions': np.asarray(positions),
        'segments': np.where(slots < ends, 0, -1),
        'completion': (slots >= PROMPT) & (slots < ends),
        'sources': np.broadcast_to(np.maximum(slots - 1, 0), (4, 9)),
        'ends': ends - 1,
    }
    batch = predictions.predictions(batch, longest=6)
    return {name: jnp.asarray(x).reshape(2, 2, -1) for name, x in batch.items()}


@jax.jit
def logits(delta, row):
    params = tree.bind(BASE, delta)
    states = decoder.hidden(tiny.ARCH, params, row[None], jnp.arange(len(row))[None])
    return decoder.unembed(tiny.ARCH, params, states)[0]


@functools.cache
def total(delta, pair, place):
    delta = {'policy': POLICY, 'reference': REFERENCE}[delta]
    row = np.asarray(comparisons()['tokens'])[pair, place, : ENDS[pair, place]]
    scores = np.asarray(jax.nn.log_softmax(logits(delta, row)), float)
    return sum(scores[t - 1, row[t]] for t in range(PROMPT, len(row)))


def test_totals_are_those_of_the_completions_alone():
    got, lengths = jax.jit(direct.totals, static_argnums=0)(
        tiny.ARCH, tree.bind(BASE, POLICY), comparisons()
    )
    np.testing.assert_array_equal(lengths, ENDS - PROMPT)
    want = [[total('policy', i, k) for k in range(2)] for i in range(2)]
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_the_loss_by_hand():
    run = functools.partial(direct.loss, arch=tiny.ARCH, numbers=NUMBERS)
    (got, (count, sums)), grads = jax.jit(jax.value_and_grad(run, has_aux=True))(
        POLICY, FROZEN, comparisons(), None
    )
    gained = np.array(
        [
            [total('policy', i, k) - total('reference', i, k) for k in range(2)]
            for i in range(2)
        ]
    )
    margin = 0.2 * (gained[:, 0] - gained[:, 1])
    losses = 0.9 * np.log1p(np.exp(-margin)) + 0.1 * np.log1p(np.exp(margin))
    assert count == 2
    np.testing.assert_allclose(got, losses.sum(), rtol=1e-4)
    np.testing.assert_allclose(sums['margin'][0], margin.sum(), rtol=1e-3)
    np.testing.assert_allclose(sums['accuracy'][0], (margin > 0).sum())
    np.testing.assert_allclose(
        sums['chosen_reward'][0], 0.2 * gained[:, 0].sum(), rtol=1e-3
    )
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(grads))
    lower = jax.tree.map(lambda x, g: x - 1e-3 * g, POLICY, grads)
    assert jax.jit(run)(lower, FROZEN, comparisons(), None)[0] < got


def test_a_completion_that_is_not_there_counts_nothing():
    run = jax.jit(functools.partial(direct.loss, arch=tiny.ARCH, numbers=NUMBERS))
    batch = comparisons()
    third = {
        name: jnp.concatenate([x, x[:, 1:]], axis=1) if x.ndim > 1 else x
        for name, x in batch.items()
    }
    third['present'] = jnp.array([[True, True, False]] * 2)
    want, got = (run(POLICY, FROZEN, rows, None) for rows in (batch, third))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    for name, (total, count) in want[1][1].items():
        np.testing.assert_allclose(got[1][1][name][0], total, rtol=1e-5)
        assert count == 2


def test_a_label_for_the_second_is_right_where_the_second_leads():
    run = functools.partial(direct.loss, arch=tiny.ARCH, numbers=SURE)
    measure = jax.jit(lambda batch: run(POLICY, FROZEN, batch, None)[1][1])
    one, other = (
        measure({**comparisons(), 'preferences': jnp.full(2, sure)})
        for sure in (0.8, 0.2)
    )
    assert one['accuracy'][0] + other['accuracy'][0] == 2
    np.testing.assert_allclose(one['margin'][0], -other['margin'][0], rtol=1e-5)
    ahead = one['chosen_reward'][0] - other['chosen_reward'][0]
    np.testing.assert_allclose(ahead, one['margin'][0], rtol=1e-5)
    neither = measure({**comparisons(), 'preferences': jnp.full(2, 0.5)})
    # no order is right, so there is nothing to count
    assert neither['accuracy'] == (0.5, 1) and neither['margin'][0] == 0
    tied = measure({**comparisons(), 'preferences': jnp.array([0.5, 0.8])})
    assert tied['accuracy'][1] == 1 and tied['accuracy'][0] in (0, 1)


RANKINGS = [
    Comparison('a long prompt', ('cd', 'e', 'fgh'), preference=0.9),
    Comparison('another', ('i', 'jk')),
]


@pytest.mark.parametrize('rows', [[0], [1], [0, 1]])
@pytest.mark.parametrize('scan', [False, True])
def test_a_shared_prompt_gives_the_loss_of_rows_apart(scan, rows):
    """Less is computed and nothing differs: neither the loss, nor what is counted, nor
    a gradient; with rankings of different lengths in one batch too."""
    arch = tiny.arch(vocabulary=300, scan=scan)
    delta, base = tiny.adapter(arch), tiny.weights(arch)
    frozen = Frozen(policy=base, reference=Network(base, tiny.adapter(arch, seed=4)))
    data, _ = examples.encode(RANKINGS, Bytes(), 16, 8)
    run = functools.partial(direct.loss, arch=arch, numbers=NUMBERS)
    gradient = jax.jit(jax.value_and_grad(run, has_aux=True))
    apart, shared = (
        by_example.comparisons(share, data, rows, 8) for share in ('never', 'always')
    )
    assert shared['tokens'].size < apart['tokens'].size
    want, got = (gradient(delta, frozen, batch, None) for batch in (apart, shared))
    tiny.close(got, want, atol=1e-6)


def test_the_step_on_paper_has_the_shapes_of_a_full_batch():
    """Of two completions, with and without a common row."""
    config = configs.experiment('paper')
    config.lengths.update(prompt=16, response=8)
    config.dpo = configs.dpo_config(1e-3, batch_size=2)
    records = [Comparison('p' * 40, ('c' * 9, 'd' * 9))] * 2
    data, _ = examples.encode(records, Bytes(), 16, 8)
    for share in ('never', 'always'):
        config.dpo.share_prompts = share
        paper = dpo.plan(tiny.ARCH, config, 'dpo').batch
        batch = by_example.comparisons(share, data, [0, 1], 8)
        shapes = {name: paper[name].shape for name in paper}
        assert shapes == {name: batch[name].shape for name in paper}


def counted():
    """Mean log-probs of tokens of the policy, and its log-ratios to the reference."""
    said = np.array([[total('policy', i, k) for k in range(2)] for i in range(2)])
    apart = [[total('reference', i, k) for k in range(2)] for i in range(2)]
    return said / (ENDS - PROMPT), said - np.array(apart)


def sigmoid_loss(x):
    return np.log1p(np.exp(-x))


def by_hand(name):
    """The loss of each comparison, from the papers' equations."""
    mean, ratio = counted()
    h = ratio[:, 0] - ratio[:, 1]
    odds = mean - np.log1p(-np.exp(mean))
    return {
        'robust': (0.9 * sigmoid_loss(0.2 * h) - 0.1 * sigmoid_loss(-0.2 * h)) / 0.8,
        'ipo': (h - 1 / 0.4) ** 2,
        'simpo': sigmoid_loss(0.2 * (mean[:, 0] - mean[:, 1]) - 0.5),
        'orpo': 0.2 * sigmoid_loss(odds[:, 0] - odds[:, 1]) - mean[:, 0],
    }[name]


MORE = {
    'robust': {'label_smoothing': 0.1},
    'ipo': {},
    'simpo': {'target_margin': 0.5},
    'orpo': {'nll_coefficient': 1.0},
}


@pytest.mark.parametrize('name', MORE)
def test_the_relatives_by_hand(name):
    numbers = direct.Numbers(loss=name, beta=0.2, **MORE[name])
    run = functools.partial(direct.loss, arch=tiny.ARCH, numbers=numbers)
    frozen = FROZEN if name in ('robust', 'ipo') else Frozen(policy=BASE)
    (got, (count, sums)), grads = jax.jit(jax.value_and_grad(run, has_aux=True))(
        POLICY, frozen, comparisons(), None
    )
    np.testing.assert_allclose(got, by_hand(name).sum(), rtol=1e-3)
    assert count == 2 and ('chosen_nll' in sums) == (name == 'orpo')
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(grads))
