"""The factors of a LoRA leaf as matrices, on the host in float64."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.system import placement
from perl.weights import Lora, in_layers


def is_lora(leaf: Any) -> bool:
    """Whether a leaf is a pair of factors, else an array."""
    return isinstance(leaf, Lora)


def matrices(path: str, lora: Lora) -> tuple[np.ndarray, np.ndarray]:
    """The factors `[L, I, R]` and `[L, R, O]` in float64, the scale in the second."""
    a, b = host(lora.a), host(lora.b) * lora.scale
    depth, rank = (a.shape[0] if lead(path) else 1), a.shape[-1]
    return a.reshape(depth, -1, rank), b.reshape(depth, rank, -1)


def pair(path: str, like: Lora, a: np.ndarray, b: np.ndarray) -> Lora:
    """Matrices `[L, I, R]` and `[L, R, O]` as the factors of a kernel again."""
    rank, layers = a.shape[-1], like.a.shape[: lead(path)]
    outputs = like.b.shape[lead(path) + 1 :]
    return dataclasses.replace(
        like,
        a=jnp.asarray(a.reshape(*like.a.shape[:-1], rank), jnp.float32),
        b=jnp.asarray(b.reshape(*layers, rank, *outputs), jnp.float32),
        scale=1.0,
    )


def lead(path: str) -> int:
    """1 where a leaf has an axis of layers in front, else 0."""
    return int(in_layers(path))


def host(x: jax.Array) -> np.ndarray:
    """An array of any shape on the host in float64."""
    return np.asarray(placement.fetch(x), np.float64)
