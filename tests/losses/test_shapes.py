"""Arrays that do not fit each other are refused, never broadcast to a wrong sum."""

import jax.numpy as jnp
import pytest

from perl.losses import (  # fmt: skip
    advantages,
    direct,
    group_advantages,
    kl,
    language,
    policy,
    preference,
    reduce,
    value,
)

B, T, V = 3, 4, 5
ROWS, COLUMN, ONE = jnp.ones((B, T)), jnp.ones((B, 1)), jnp.ones(B)
LOGITS, IDS = jnp.ones((B, T, V)), jnp.zeros((B, T), int)

FITTING = {
    'shaped_rewards': (advantages.shaped_rewards, (ONE, ROWS, ROWS, 0.1)),
    'gae': (advantages.gae, (ROWS, ROWS, ROWS, 1.0, 0.95)),
    'leave_one_out': (group_advantages.leave_one_out, (ONE, 3)),
    'centred': (group_advantages.centred, (ONE, 3)),
    'normalised': (group_advantages.normalised, (ONE, 3)),
    'best': (group_advantages.best, (ONE, 3)),
    'ppo': (policy.ppo, (ROWS, ROWS, ROWS, 0.2)),
    'clip_fraction': (policy.clip_fraction, (ROWS, ROWS, ROWS, 0.2)),
    'reinforce': (policy.reinforce, (ROWS, ROWS)),
    'cut_fraction': (policy.cut_fraction, (ROWS, ROWS, 0.2)),
    'cispo': (policy.cispo, (ROWS, ROWS, ROWS, 0.2)),
    'sequence_log_ratios': (policy.sequence_log_ratios, (ROWS, ROWS, ROWS)),
    'importance_weights': (policy.importance_weights, (ROWS, ROWS, 2.0, False)),
    'effective_share': (policy.effective_share, (ROWS, ROWS)),
    'squared': (value.squared, (ROWS, ROWS)),
    'clipped': (value.clipped, (ROWS, ROWS, ROWS, 0.2)),
    'pointwise': (preference.pointwise, (ONE, ONE)),
    'log_ratio': (direct.log_ratio, (ROWS, ROWS, ROWS, 0.1)),
    'mean_log_prob': (direct.mean_log_prob, (ROWS, None, ROWS, 0.1)),
    'log_odds': (direct.log_odds, (-ROWS, None, ROWS, 0.1)),
    'bradley_terry': (preference.bradley_terry, (ROWS, ROWS, ROWS, ROWS)),
    'log_probs': (language.log_probs, (LOGITS, IDS)),
    'full': (kl.full, (LOGITS, LOGITS)),
    'masked_sum': (reduce.masked_sum, (ROWS, ROWS)),
    'masked_whiten': (reduce.masked_whiten, (ROWS, ROWS)),
    **{name: (estimator, (ROWS, ROWS)) for name, estimator in kl.ESTIMATORS.items()},
}
# a missing or a wrong axis of any argument; these two broadcast on purpose
BROADCAST = {('bradley_terry', 0), ('bradley_terry', 1)}
CASES = [
    (name, i)
    for name, (_, args) in FITTING.items()
    for i, x in enumerate(args)
    if hasattr(x, 'ndim') and (name, i) not in BROADCAST
]


@pytest.mark.parametrize('name, wrong', CASES, ids=str)
def test_an_argument_of_another_shape_is_refused(name, wrong):
    loss, args = FITTING[name]
    loss(*args)
    spoilt = list(args)
    spoilt[wrong] = jnp.ones((B + 1, *args[wrong].shape), args[wrong].dtype)
    with pytest.raises((AssertionError, ValueError)):
        loss(*spoilt)


@pytest.mark.parametrize('loss', [policy.reinforce, value.squared, kl.k1, kl.k3])
def test_a_column_is_not_broadcast_over_tokens(loss):
    with pytest.raises(AssertionError):
        loss(ROWS, COLUMN)
