"""A decoder described by numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.models.field_types import CHOICES, TYPES
from perl.models.scaling import Scaling
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A decoder: blocks of causal attention and an MLP on a residual stream.

    The defaults are a Llama: RMSNorm before both, rotary positions, grouped queries,
    SwiGLU, no biases. A pattern is a tuple that repeats over the layers; the empty one
    says that no layer has what it is about.

    Attributes:
        vocabulary, width, layers, heads, kv_heads, head_width, hidden: the sizes
            V, D, L, H, K, N, F.
        max_length: the window, in tokens.
        rope_theta: base of the rotary frequencies.
        rope_layout: which two components turn together: `halves` (i, i + N/2; Hugging
            Face) or `pairs` (2i, 2i + 1; llama2.c and the original weights).
        rope_width: how many components of a head turn, the first ones; 0 is all.
        rope_scaling: how the frequencies were changed for a longer window.
        rope_local_theta: base of the frequencies of layers with a window, which are not
            scaled; 0 gives them those of all layers (Gemma 3).
        unrotated: pattern of layers without rotary positions (SmolLM 3).
        positions: `rotary`, or `learned`: a table added to the embedding (GPT-2).
        windows: pattern of how many tokens each layer sees, itself included; 0 is all.
        norm: `rms` (RMSNorm), `rms_offset` (RMSNorm by 1 + weight, Gemma) or `layer`
            (LayerNorm with a bias).
        norm_eps: of all norms.
        norm_at: whether attention and MLP have a norm `before` them, `after` them
            (OLMo 2) or `both` (Gemma 2).
        qk_norm: `none`, or a norm of queries and keys: of each `head`, or of the
            `whole` width (OLMo 2).
        parallel: whether the MLP reads what attention reads, not its sum (GPT-NeoX).
        activation: of the MLP: `silu`, `gelu`, `gelu_tanh` (its approximation) or
            `relu`.
        gated: whether a second projection is multiplied with the activated one.
        tied: whether the unembedding is the embedding.
        qkv_bias: whether queries, keys and values have a bias (Qwen 2).
        o_bias: whether the output of attention has one.
        mlp_bias: whether the projections of the MLP have one.
        embed_scale: multiplies the embedding.
        query_scalar: scores are divided by its root; 0 is the head width.
        attention_cap: bounds scores with a tanh; 0 leaves them (Gemma 2).
        logit_cap: bounds logits in the same way.
        pieces: how many ids the tokenizer has. Rows of the embedding past them are
            padding: their logits are minus infinity, so that no such id is drawn,
            scored or counted in an entropy. 0 says that every row has a piece.
        holes: ids below these that the tokenizer has no piece for either.
        dtype: of compute and of a frozen base; norms, softmax, heads, adapters and
            log-probs are float32 whatever it says.
        precision: of float32 matrix products with weights: `highest` computes them in
            float32; `default` lets JAX round the operands on GPU and TPU (to TF32 or
            to bfloat16), which is faster; `bfloat16` rounds the operands on every
            platform and adds in float32, and a frozen base is stored so.
        quantization: how a frozen base stores the kernels of its layers: none, or a
            name in `perl.weights.QUANTISATIONS`.
        attention: which implementation computes whole rows: `plain`, a name in
            `perl.models.attention.table.FUSED`, or `auto`, the one of the platform.
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
    rope_width: int = 0
    rope_scaling: Scaling | None = None
    rope_local_theta: float = 0.0
    unrotated: tuple[bool, ...] = ()
    positions: str = 'rotary'
    windows: tuple[int, ...] = ()
    norm: str = 'rms'
    norm_eps: float = 1e-5
    norm_at: str = 'before'
    qk_norm: str = 'none'
    parallel: bool = False
    activation: str = 'silu'
    gated: bool = True
    tied: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    embed_scale: float = 1.0
    query_scalar: float = 0.0
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    pieces: int = 0
    holes: tuple[int, ...] = ()
    dtype: str = 'float32'
    precision: str = 'highest'
    quantization: str = 'none'
    attention: str = 'auto'
    scan: bool = True
    remat: bool = False

    def __post_init__(self):
        for name, value in _from_json(self).items():
            object.__setattr__(self, name, value)
        for field in dataclasses.fields(self):
            value, (words, holds) = getattr(self, field.name), TYPES[field.type]
            if field.name in ('pieces', 'rope_width') and value == 0:  # all of them
                continue
            # to Python, True is an integer
            if (field.type is bool) != isinstance(value, bool) or not holds(value):
                raise UserError(f'model.{field.name}: {value!r:.40} must be {words}')
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise UserError(
                    f'model.{field}: {getattr(self, field)!r:.40} is not one of '
                    f'{", ".join(known)}'
                )
        self._check_sizes()

    def _check_sizes(self):
        if self.pieces > self.vocabulary:
            raise UserError(
                f'model.pieces: {self.pieces} must be in [0, {self.vocabulary}], the '
                'rows of the embedding'
            )
        if max(self.holes, default=0) >= self.vocabulary:
            raise UserError(
                f'model.holes: {max(self.holes)} is not an id: the embedding has '
                f'{self.vocabulary} rows'
            )
        if self.heads % self.kv_heads:
            raise UserError(
                f'model: heads={self.heads} is not a multiple of kv_heads='
                f'{self.kv_heads}; choose kv_heads among the divisors of heads'
            )
        if self.positions == 'rotary' and self.turned > self.head_width:
            raise UserError(
                f'model: head_width={self.head_width} must be an even number of at '
                f'least {self.turned}, because rotary positions turn components in '
                'pairs'
            )

    @property
    def turned(self) -> int:
        """The number of components of a head that are rotated, which is even."""
        return -(-(self.rope_width or self.head_width) // 2) * 2

    @property
    def padding(self) -> int:
        """Rows of the embedding without a piece of the tokenizer."""
        pieces = self.pieces or self.vocabulary
        return self.vocabulary - pieces + len({x for x in self.holes if x < pieces})

    @property
    def base_dtype(self) -> str:
        """The dtype of a frozen base: numbers that products round anyway are stored
        rounded."""
        return 'bfloat16' if self.precision == 'bfloat16' else self.dtype

    @property
    def exact(self) -> bool:
        """Whether two orders of the same float32 sums agree to float32 rounding.

        So log-probs of the sampler are those of the trainer to about 1e-6. In half
        precision, or with rounded operands, they differ by hundredths of a nat.
        """
        return self.dtype == 'float32' and self.precision == 'highest'


def _from_json(arch: Architecture) -> dict[str, Any]:
    """Patterns and scaling as values that can be hashed."""
    values = {
        name: tuple(getattr(arch, name))
        for name in ('windows', 'unrotated', 'holes')
        if isinstance(getattr(arch, name), list)
    }
    if isinstance(arch.rope_scaling, Mapping):
        values['rope_scaling'] = Scaling(**arch.rope_scaling)
    return values
