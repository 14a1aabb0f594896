"""The data of B sampled responses that pass between the parts of an iteration; each
class is a pytree."""

import dataclasses
import functools

import jax


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        'log_probs', 'rewards', 'values', 'reference', 'start', 'divergence',
        'sampler_gap',
    ],
    meta_fields=[],
)  # fmt: skip
@dataclasses.dataclass(frozen=True)
class Scores:
    """What the roles compute for a rollout; None for what is not needed.

    Attributes:
        log_probs: `[B, R]` float32, of the policy: the ratio of the update and the KL
            are measured from them.
        rewards: `[B]` float32, of the responses.
        values: `[B, R]` float32, of the states before the tokens.
        reference: `[B, R]` float32, log-probs of the reference.
        start: `[B, R]` float32, log-probs of what the policy began as, where the
            reference moves.
        divergence: `[B, R]` float32, KL(policy || reference) of whole distributions.
        sampler_gap: scalar, the mean distance of the sampler's log-probs from the
            trainer's, where these differ by more than float32 rounding.
    """

    log_probs: jax.Array
    rewards: jax.Array | None = None
    values: jax.Array | None = None
    reference: jax.Array | None = None
    start: jax.Array | None = None
    divergence: jax.Array | None = None
    sampler_gap: jax.Array | None = None


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        'tokens', 'prompt_lengths', 'mask', 'log_probs', 'advantages', 'returns',
        'values', 'reference', 'beta', 'weights', 'text',
    ],
    meta_fields=[],
)  # fmt: skip
@dataclasses.dataclass(frozen=True)
class Experience:
    """What an update learns from: B responses of R slots after prompts of P slots.

    Attributes:
        tokens: `[B, P + R]` int32, prompts padded on the left, then responses.
        prompt_lengths: `[B]` int32, real tokens of each prompt.
        mask: `[B, R]` bool, which slots hold a sampled token.
        log_probs: `[B, R]` float32, of the policy that sampled; the ratio is to these.
        advantages: `[B, R]` float32.
        returns: `[B, R]` float32, what the value learns; None without a critic.
        values: `[B, R]` float32, the values before the update; None without a critic.
        reference: `[B, R]` float32, log-probs of the reference, where a KL term is in
            the loss.
        beta: `[B]` float32, its coefficient, the same in every row.
        weights: `[B, R]` float32, of the policy loss of tokens, where the sampler's
            probabilities differ from the trainer's and that is corrected.
        text: rows of text that join the update (PPO-ptx, arXiv 2203.02155): tokens,
            positions, segments `[N, T]` int32, completion `[N, T]` bool, weight `[N]`.
    """

    tokens: jax.Array
    prompt_lengths: jax.Array
    mask: jax.Array
    log_probs: jax.Array
    advantages: jax.Array
    returns: jax.Array | None = None
    values: jax.Array | None = None
    reference: jax.Array | None = None
    beta: jax.Array | None = None
    weights: jax.Array | None = None
    text: dict[str, jax.Array] | None = None
