"""What a policy sampled: tokens, rows, text."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system import placement


class Responses(NamedTuple):
    """Sampled responses, one for each of B prompts.

    Attributes:
        tokens: `[B, R]` int32; past a row's length they mean nothing.
        log_probs: `[B, R]` float32 of each token at the sampling temperature, before
            top-k and top-p; 0 past a row's length.
        lengths: `[B]` int32, in tokens, the end of sequence included.
        finished: `[B]` bool, whether the row ended with the end of sequence.
    """

    tokens: jax.Array
    log_probs: jax.Array
    lengths: jax.Array
    finished: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['tokens', 'prompt_lengths', 'responses'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Rollout:
    """Prompts and the responses to them in common rows, of P and R slots.

    Attributes:
        tokens: `[B, P + R]` int32: prompts padded on the left, then responses.
        prompt_lengths: `[B]` int32, real tokens of each prompt.
        responses: what was sampled.
    """

    tokens: jax.Array
    prompt_lengths: jax.Array
    responses: Responses

    @classmethod
    def join(
        cls, prompts: jax.Array, lengths: jax.Array, responses: Responses
    ) -> 'Rollout':
        """Prompts `[B, P]` of `lengths [B]`, and the responses to them."""
        tokens = jnp.concatenate([prompts, responses.tokens], axis=1)
        return cls(tokens, lengths, responses)

    @property
    def width(self) -> int:
        """R, the slots of the responses."""
        return self.responses.tokens.shape[1]

    @property
    def mask(self) -> jax.Array:
        """bool `[B, R]`, which slots hold a sampled token."""
        return jnp.arange(self.width)[None] < self.responses.lengths[:, None]


def decode(
    tokenizer: Tokenizer, responses: Responses, prompts: Sequence[str]
) -> list[str]:
    """The text of each response, without the end of sequence.

    A response goes on from its prompt in the running text; after an empty prompt it
    begins the text.

    Args:
        tokenizer: that of the prompts.
        responses: of n rows.
        prompts: n texts.
    """
    tokens, finished, lengths = placement.fetch(
        (responses.tokens, responses.finished, responses.lengths)
    )
    lengths = lengths - finished
    texts = []
    for prompt, row, length in zip(prompts, tokens, lengths, strict=True):
        ids = row[:length].tolist()
        texts.append(tokenizer.decode(ids if prompt else [tokenizer.bos, *ids]))
    return texts
