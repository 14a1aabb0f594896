"""Qwen 2, 2.5 and 3.

Sources: the configuration and modelling code of transformers 5, whose defaults of
missing keys are these; arXiv 2407.10671, 2412.15115, 2505.09388.
"""

from typing import Any

from perl.models.architecture import Architecture
from perl.models.families.config import Config
from perl.models.families.llama import read_biases, read_common, row, write_common
from perl.models.families.parts import read_sizes, read_windows, write_windows
from perl.models.families.rope import read_rope, write_rope


def _qwen_windows(config: Config, layers: int) -> tuple[int, ...]:
    """Qwen has windows in its upper layers, and only if a switch is on."""
    window = config.get('sliding_window', 4096)
    first = config.get('max_window_layers', 28)
    window = window if config.flag('use_sliding_window', False) else None
    full = min(first, layers) if window else layers
    kinds = ['full_attention'] * full + ['sliding_attention'] * (layers - full)
    return read_windows(config, layers, window, kinds)


def _read_qwen2(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=32)
    config.only('use_mrope', False, None)
    windows = _qwen_windows(config, sizes['layers'])
    return {
        **read_common(config, sizes),
        **read_rope(config, sizes),
        'windows': windows,
    }


def _write_qwen2(arch: Architecture) -> dict[str, Any]:
    return {
        **write_common(arch),
        **write_rope(arch),
        **write_windows(arch),
        'use_sliding_window': any(arch.windows),
        'max_window_layers': arch.layers,
    }


def _read_qwen3(config: Config) -> dict[str, Any]:
    sizes = read_sizes(config, kv_heads=32, head_width=128)
    return {
        **read_common(config, sizes),
        **read_biases(config),
        **read_rope(config, sizes),
        'windows': _qwen_windows(config, sizes['layers']),
    }


def _write_qwen3(arch: Architecture) -> dict[str, Any]:
    return {**_write_qwen2(arch), 'attention_bias': arch.qkv_bias}


_NORMED = {'qk_norm': 'head'}
ROWS = (
    row('qwen2', 'Qwen2', _read_qwen2, _write_qwen2, fields={'qkv_bias': True}),
    row('qwen3', 'Qwen3', _read_qwen3, _write_qwen3, fields=_NORMED),
)
