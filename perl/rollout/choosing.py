"""How one token is chosen from the logits of a decoder."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from perl.system.errors import UserError

# a sum of probabilities may be this much too small, as a share of itself
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; static under jit.

    Attributes:
        max_tokens: of a response, the end of sequence included.
        eos: the id that ends a response, or several; None never ends one.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of tokens with at least this much probability.

    Raises:
        UserError: a number is out of its range.
    """

    max_tokens: int
    eos: int | tuple[int, ...] | None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not 0 <= self.temperature < math.inf:
            raise UserError(
                f'temperature: {self.temperature} must be finite, 0 or more'
            )
        if self.top_k < 0:
            raise UserError(f'top_k: {self.top_k} must be 0 or more')
        if not 0 < self.top_p <= 1:
            raise UserError(f'top_p: {self.top_p} must be in (0, 1]')


def choose(
    logits: jax.Array, key: jax.Array, sampling: Sampling
) -> tuple[jax.Array, jax.Array]:
    """One token of each row, and its log-prob before top-k and top-p.

    The log-prob is that of the distribution at the sampling temperature, as the trainer
    computes it; at temperature 0 it is that at temperature 1.

    Args:
        logits: `[B, V]` float32.
        key: a random key, consumed; or keys `[B]`, one a row.
        sampling: how tokens are chosen.

    Returns:
        `[B]` int32 and `[B]` float32.
    """
    if sampling.temperature == 0:
        token = jnp.argmax(logits, axis=-1)
        return token, _log_prob(logits, token)
    logits = logits / sampling.temperature
    token = draw(key, cut(logits, sampling))
    return token, _log_prob(logits, token)


def cut(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Logits `[B, V]` with minus infinity outside of top-k and top-p.

    Top-p is of the distribution that top-k leaves. Among equal logits those of lower
    ids are kept, so that k tokens stay, or the smallest set, whatever the ties.
    """
    if not sampling.top_k and sampling.top_p == 1:
        return logits
    most = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    ranked, ids = jax.lax.top_k(logits, most)
    if sampling.top_p < 1:
        chances = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(chances, axis=-1) - chances
        # a token stays where those before it have not reached top_p: the first always
        inside = before < sampling.top_p * (1 - _ROUNDING)
        ranked = jnp.where(inside, ranked, -jnp.inf)
    rows = jnp.arange(len(logits))[:, None]
    return jnp.full_like(logits, -jnp.inf).at[rows, ids].set(ranked)


def draw(key: jax.Array, logits: jax.Array) -> jax.Array:
    """One token `[B]` int32 for each row from `softmax(logits [B, V])`, with one key or
    with keys `[B]`.

    It takes two uniform numbers a row, one for the block of the vocabulary and one for
    the token in it: on CPU twenty times faster than V Gumbel numbers.
    """
    vocab = logits.shape[-1]
    width = 2 ** math.ceil(math.log2(vocab) / 2)
    weights = jnp.exp(logits - logits.max(-1, keepdims=True))
    weights = jnp.pad(weights, ((0, 0), (0, -vocab % width)))
    weights = weights.reshape(len(logits), -1, width)
    if key.ndim:
        uniform = jax.vmap(lambda own: jax.random.uniform(own, (2,)))(key)
    else:
        uniform = jax.random.uniform(key, (len(logits), 2))
    block = _pick(uniform[:, :1], weights.sum(-1))
    inside = jnp.take_along_axis(weights, block[:, None, None], 1)[:, 0]
    return block * width + _pick(uniform[:, 1:], inside)


def keys_of(key: jax.Array, rows: int) -> jax.Array:
    """Random keys `[B]`, one a row, from one key, consumed."""
    return folded(jnp.repeat(key, rows), jnp.arange(rows))


def folded(key: jax.Array, number: jax.Array | int) -> jax.Array:
    """A random key, or keys `[B]`, for each token of a row, from its number: a scalar,
    or `[B]` where rows have keys and numbers of their own."""
    if not key.ndim:
        return jax.random.fold_in(key, number)
    return jax.vmap(jax.random.fold_in)(key, jnp.broadcast_to(number, key.shape))


def _pick(uniform, weights):
    """The first index whose running sum passes the uniform share of the whole.

    It is never an index of weight zero, although XLA's running sum may fall by a
    rounding error where nothing is added.
    """
    mass = jnp.where(weights > 0, jnp.cumsum(weights, -1), 0)
    return jnp.argmax(mass > uniform * mass.max(-1, keepdims=True), -1)


def _log_prob(logits, token):
    chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)
