"""A decoder described by numbers, and the parameters that follow from them."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from perl.system.errors import UserError
from perl.weights import Leaf, is_leaf


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A Llama-type decoder: RMSNorm, rotary positions, grouped queries, SwiGLU.

    Attributes:
        vocabulary, width, layers, heads, kv_heads, head_width, hidden: the sizes
            V, D, L, H, K, N, F.
        max_length: the window, in tokens.
        rope_theta: base of the rotary frequencies.
        rope_layout: which two components turn together: `halves` (i, i + N/2; Hugging
            Face) or `pairs` (2i, 2i + 1; llama2.c and the original weights).
        norm_eps: of RMSNorm.
        tied: whether the unembedding is the embedding.
        qkv_bias: whether queries, keys and values have a bias (Qwen 2).
        pieces: how many ids the tokenizer has. Rows of the embedding past them are
            padding: their logits are minus infinity, so that no such id is drawn,
            scored or counted in an entropy. 0 says that every row has a piece.
        dtype: of compute and of a frozen base; norms, softmax, heads, adapters and
            log-probs are float32 whatever it says.
        precision: of float32 matrix products on GPU and TPU: `highest` computes them in
            float32, `default` lets JAX round the operands (to TF32 on GPU, to bfloat16
            on TPU), which is faster. A CPU has float32 products only.
        scan: one compiled layer for all (fast to compile) or unrolled (fast to run).
        remat: recompute each layer in the backward pass instead of keeping it.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    max_length: int
    rope_theta: float = 10000.0
    rope_layout: str = 'halves'
    norm_eps: float = 1e-5
    tied: bool = False
    qkv_bias: bool = False
    pieces: int = 0
    dtype: str = 'float32'
    precision: str = 'highest'
    scan: bool = True
    remat: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, (words, holds) = getattr(self, field.name), _TYPES[field.type]
            if field.name == 'pieces' and value == 0:  # all rows have a piece
                continue
            # to Python, True is an integer
            if (field.type is bool) != isinstance(value, bool) or not holds(value):
                raise UserError(f'model.{field.name}: {value!r:.40} must be {words}')
        if self.pieces > self.vocabulary:
            raise UserError(
                f'model.pieces: {self.pieces} must be in [0, {self.vocabulary}], the '
                'rows of the embedding'
            )
        if self.heads % self.kv_heads:
            raise UserError(
                f'model: heads={self.heads} is no multiple of kv_heads='
                f'{self.kv_heads}; choose kv_heads among the divisors of heads'
            )
        if self.head_width % 2:
            raise UserError(
                f'model: head_width={self.head_width} must be even for rotary '
                'positions; choose an even one'
            )
        for field, known in _CHOICES.items():
            if getattr(self, field) not in known:
                raise UserError(
                    f'model.{field}: {getattr(self, field)!r} is not one of '
                    f'{", ".join(known)}'
                )

    @property
    def padding(self) -> int:
        """Rows of the embedding without a piece of the tokenizer."""
        return self.vocabulary - (self.pieces or self.vocabulary)

    @property
    def exact(self) -> bool:
        """Whether two orders of the same float32 sums agree to float32 rounding.

        So log-probs of the sampler are those of the trainer to about 1e-6. In half
        precision, or with rounded operands, they differ by hundredths of a nat.
        """
        return self.dtype == 'float32' and self.precision == 'highest'


# the type of a field: what it must be, for a person, and whether a value is that
_TYPES = {
    int: ('a whole number above 0', lambda x: isinstance(x, int) and 0 < x < 2**31),
    float: (
        'a finite number, 0 or more',
        lambda x: isinstance(x, int | float) and 0 <= x <= sys.float_info.max,
    ),
    bool: ('true or false', lambda x: True),
    str: ('text', lambda x: isinstance(x, str)),
}
DTYPES = ('float32', 'bfloat16', 'float16')
_CHOICES = {
    'rope_layout': ('halves', 'pairs'),
    'dtype': DTYPES,
    'precision': ('highest', 'default'),
}


def with_precision(function: Callable) -> Callable:
    """Makes the matrix products of `function(arch, ...)` those of `arch.precision`.

    The setting holds while the function is traced, and the products keep it, in their
    gradients too. No setting of the process changes.
    """

    @functools.wraps(function)
    def run(arch: Architecture, *args: Any, **options: Any) -> Any:
        with jax.default_matmul_precision(arch.precision):
            return function(arch, *args, **options)

    return run


def parameters(arch: Architecture) -> dict[str, Any]:
    """Every parameter of the decoder, declared once.

    Initial values, shardings, adapter shapes and memory tables derive from this tree.
    """
    D, H, K, N, F = (
        arch.width,
        arch.heads,
        arch.kv_heads,
        arch.head_width,
        arch.hidden,
    )
    # each kernel keeps the variance of its input; what writes into the residual
    # stream is shrunk so that the sum over layers stays near 1 (GPT-2)
    std = D**-0.5
    o_std, down_std = (x**-0.5 / math.sqrt(2 * arch.layers) for x in (H * N, F))

    def layer(shape, axes, inputs, std):
        return Leaf((arch.layers, *shape), ('layers', *axes), inputs, std)

    tree = {
        'embed': Leaf((arch.vocabulary, D), ('vocab', 'embed'), 1, std),
        'layers': {
            'attention': {
                'norm': layer((D,), ('norm',), 0, None),
                'q': layer((D, H, N), ('embed', 'heads', 'head'), 1, std),
                'k': layer((D, K, N), ('embed', 'kv_heads', 'head'), 1, std),
                'v': layer((D, K, N), ('embed', 'kv_heads', 'head'), 1, std),
                'o': layer((H, N, D), ('heads', 'head', 'embed'), 2, o_std),
            },
            'mlp': {
                'norm': layer((D,), ('norm',), 0, None),
                'gate': layer((D, F), ('embed', 'hidden'), 1, std),
                'up': layer((D, F), ('embed', 'hidden'), 1, std),
                'down': layer((F, D), ('hidden', 'embed'), 1, down_std),
            },
        },
        'norm': Leaf((D,), ('norm',), 0, None),
    }
    if arch.qkv_bias:
        tree['layers']['attention'] |= {
            'q_bias': layer((H, N), ('heads', 'head'), 0, 0.0),
            'k_bias': layer((K, N), ('kv_heads', 'head'), 0, 0.0),
            'v_bias': layer((K, N), ('kv_heads', 'head'), 0, 0.0),
        }
    if not arch.tied:
        tree['unembed'] = Leaf((D, arch.vocabulary), ('embed', 'vocab'), 1, std)
    return tree


def init(key: jax.Array, arch: Architecture, dtype: str = 'float32') -> dict[str, Any]:
    """Random parameters of the declared shapes; the key is consumed."""
    leaves, structure = jax.tree.flatten(parameters(arch), is_leaf=is_leaf)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        jnp.ones(leaf.shape, dtype)
        if leaf.std is None
        else leaf.std * jax.random.normal(k, leaf.shape, dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    )
