"""Parts of configs that families share, read and written."""

from collections.abc import Sequence
from typing import Any

from perl.models.architecture import Architecture
from perl.models.families.config import ACTIVATIONS, Config

# keys of a foreign config, and the fields of an architecture that they are
SIZES = {
    'vocab_size': 'vocabulary',
    'hidden_size': 'width',
    'num_hidden_layers': 'layers',
    'num_attention_heads': 'heads',
    'intermediate_size': 'hidden',
    'max_position_embeddings': 'max_length',
}
_KINDS = ('full_attention', 'sliding_attention')


def read_sizes(
    config: Config, kv_heads: int | None = None, head_width: int | None = None
) -> dict[str, Any]:
    """The sizes of a decoder.

    Args:
        config: the foreign config.
        kv_heads: where the config does not say; None for those of queries.
        head_width: where the config does not say; None for width / heads.

    Raises:
        UserError: one is missing or not a whole number above 0, or the heads do not
            divide the width.
    """
    sizes = {ours: config.size(theirs) for theirs, ours in SIZES.items()}
    heads = config.get('num_key_value_heads', kv_heads) or sizes['heads']
    sizes['kv_heads'] = config.whole('num_key_value_heads', heads)
    width = config.get('head_dim', head_width) or head_of(config, sizes)
    sizes['head_width'] = config.whole('head_dim', width)
    return sizes


def head_of(config: Config, sizes: dict[str, Any]) -> int:
    """The width of a head where heads share the width of the decoder.

    Raises:
        UserError: they do not divide it.
    """
    width, heads = sizes['width'], sizes['heads']
    if width % heads:
        raise config.error('num_attention_heads', heads, f'it must divide {width}')
    return width // heads


def write_sizes(arch: Architecture) -> dict[str, Any]:
    """The keys that `read_sizes` reads."""
    config = {theirs: getattr(arch, ours) for theirs, ours in SIZES.items()}
    return config | {
        'num_key_value_heads': arch.kv_heads,
        'head_dim': arch.head_width,
    }


def write_activation(arch: Architecture, names: Sequence[str] = ()) -> str:
    """The foreign name of the activation; one of `names` where that is its name."""
    names = (*names, *ACTIVATIONS)
    return next(name for name in names if ACTIVATIONS[name] == arch.activation)


def read_windows(
    config: Config, layers: int, window: int | None, kinds: Sequence[str] | None
) -> tuple[int, ...]:
    """The pattern of windows that kinds of layers say.

    Args:
        config: the foreign config, for `layer_types`, which says more than `kinds`.
        layers: how many.
        window: of the layers that have one.
        kinds: of each layer where the config does not say.

    Raises:
        UserError: the list has another length, an unknown kind, or a kind with a window
            that is not said.
    """
    kinds = config.get('layer_types') or kinds
    if len(kinds) != layers:
        raise config.error('layer_types', kinds, f'it must have {layers} kinds')
    for kind in kinds:
        config.one_of('layer_types', kind, _KINDS)
    if _KINDS[1] in kinds and not window:
        raise config.error('sliding_window', window, 'layer_types wants one')
    return pattern([window if kind == _KINDS[1] else 0 for kind in kinds])


def every(layers: int, number: int, first: str, last: str) -> list[str]:
    """Kinds of layers in which every n-th is `last`."""
    return [last if (i + 1) % number == 0 else first for i in range(layers)]


def write_windows(arch: Architecture) -> dict[str, Any]:
    """`sliding_window` and `layer_types`; a decoder has one window at most."""
    windows = spread(arch.windows or (0,), arch.layers)
    return {
        'sliding_window': max(windows) or None,
        'layer_types': [_KINDS[window > 0] for window in windows],
    }


def pattern(values: Sequence[Any]) -> tuple[Any, ...]:
    """The shortest pattern that gives the values of all layers; none of it is empty."""
    if not any(values):
        return ()
    sizes = range(1, len(values) + 1)
    repeated = (tuple(values[:n]) for n in sizes if _repeats(values, n))
    return next(repeated)


def spread(values: Sequence[Any], layers: int) -> list[Any]:
    """The value of each layer of a pattern."""
    return [values[i % len(values)] for i in range(layers)]


def _repeats(values, n):
    return all(values[i] == values[i % n] for i in range(len(values)))
