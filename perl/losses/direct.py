"""Losses of a policy on comparisons: DPO and its relatives, one table.

Each gives a completion an implicit reward, from its log-probs alone, and each pair of
completions a loss of the difference of their rewards.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from perl.losses.reduce import as_float


@dataclasses.dataclass(frozen=True)
class Direct:
    """How comparisons teach a policy.

    Attributes:
        reward: `(log_probs, reference, lengths, beta) -> [B, K]` float32: the summed
            log-probs `[B, K]` of completions under policy and reference, their tokens
            `[B, K]`, and the strength beta.
        loss: `(margins, beta) -> [B, pairs]`: of the first completion before the other.
        referenced: whether there is a reference.
        unbiased: whether label smoothing undoes wrong labels in the mean, where it
            otherwise mixes both orders.
    """

    reward: Callable[..., jax.Array]
    loss: Callable[[jax.Array, float], jax.Array]
    referenced: bool = True
    unbiased: bool = False


def log_ratio(
    log_probs: jax.Array, reference: jax.Array, lengths: jax.Array, beta: float
) -> jax.Array:
    """beta log(policy / reference), `[B, K]` -> `[B, K]` (Rafailov et al., arXiv
    2305.18290, eq. 5, without the term that depends only on the prompt)."""
    chex.assert_equal_shape((log_probs, reference, lengths))
    return beta * (as_float(log_probs) - as_float(reference))


def mean_log_prob(
    log_probs: jax.Array, reference: None, lengths: jax.Array, beta: float
) -> jax.Array:
    """beta times the mean log-prob of a token, `[B, K]` -> `[B, K]` (SimPO: Meng et
    al., arXiv 2405.14734, eq. 4)."""
    del reference
    chex.assert_equal_shape((log_probs, lengths))
    said = as_float(log_probs)
    return beta * said / jnp.maximum(jnp.asarray(lengths, said.dtype), 1)


def log_odds(
    log_probs: jax.Array, reference: None, lengths: jax.Array, beta: float
) -> jax.Array:
    """log(p / (1 - p)) of the geometric mean p of the tokens' probabilities, `[B, K]`
    -> `[B, K]` (ORPO: Hong et al., arXiv 2403.07691, eq. 4 and 7)."""
    mean = mean_log_prob(log_probs, reference, lengths, 1.0)
    # p may round to 1, where the odds are infinite
    return mean - jnp.log(jnp.maximum(-jnp.expm1(mean), 1e-7))


def _sigmoid(margins, beta):
    """-log sigmoid(margin) (arXiv 2305.18290, eq. 7)."""
    return jax.nn.softplus(-margins)


def _squared(margins, beta):
    """(h - 1 / (2 beta))^2 of the log-ratio h (IPO: Azar et al., arXiv 2310.12036, eq.
    17, with tau = beta)."""
    return jnp.square(margins / beta - 0.5 / beta)


def _weighed(margins, beta):
    """-beta log sigmoid(margin) (arXiv 2403.07691, eq. 6, with lambda = beta)."""
    return beta * jax.nn.softplus(-margins)


DIRECT = {
    'dpo': Direct(log_ratio, _sigmoid),
    # Chowdhury et al., arXiv 2403.00409, eq. 12
    'robust': Direct(log_ratio, _sigmoid, unbiased=True),
    'ipo': Direct(log_ratio, _squared),
    'simpo': Direct(mean_log_prob, _sigmoid, referenced=False),
    'orpo': Direct(log_odds, _weighed, referenced=False),
}


def pair_loss(
    name: str,
    margins: jax.Array,
    beta: float,
    preference: jax.Array | float = 1.0,
    smoothing: float = 0.0,
    target: float = 0.0,
) -> jax.Array:
    """The loss of each pair, float32 in the shape of the margins.

    Args:
        name: in `DIRECT`.
        margins: `[B]` or `[B, pairs]`, the reward of the first completion minus that of
            the second.
        beta: as in `Direct`.
        preference: the probability that the order is right; broadcasts.
        smoothing: in [0, 1/2), the share of labels assumed to be wrong. Both orders are
            mixed so (conservative DPO), or the mixture is undone (`robust`): then the
            mean over labels of which this share is wrong is the loss of right ones.
        target: what a margin has to reach (gamma of SimPO, arXiv 2405.14734, eq. 5).
    """
    rule, margins = DIRECT[name], as_float(margins)
    right, reverse = (
        rule.loss(margins - target, beta),
        rule.loss(-margins - target, beta),
    )
    p_right = jnp.asarray(preference)
    chex.assert_is_broadcastable(p_right.shape, margins.shape)
    if rule.unbiased:
        p_right = (p_right - smoothing) / (1 - 2 * smoothing)
    else:
        p_right = p_right * (1 - 2 * smoothing) + smoothing
    return p_right * right + (1 - p_right) * reverse
