"""Bases in files of llama2.c."""

import pathlib
import struct
from typing import Any

import jax
import numpy as np

from perl.models.architecture import Architecture
from perl.system.errors import UserError


def load(path: pathlib.Path) -> tuple[Architecture, Any]:
    """A llama2.c "version 0" file: seven int32, then float32 weights, row-major
    `[outputs, inputs]` (karpathy/llama2.c, export.py `legacy_export`)."""
    data = path.read_bytes()
    if len(data) < 28:
        raise UserError(f'model.path: {path} is too short for a llama2.c file')
    D, F, L, H, K, V, T = struct.unpack('7i', data[:28])
    if min(D, F, L, H, K, abs(V), T) < 1 or D % H or H % K or len(data) % 4:
        raise UserError(
            f'model.path: {path} is not a whole llama2.c model of version 0; give a '
            'file as export.py of llama2.c writes it by default'
        )
    N, tied, V = D // H, V > 0, abs(V)
    arch = Architecture(
        vocabulary=V, width=D, layers=L, heads=H, kv_heads=K, head_width=N, hidden=F,
        max_length=T, rope_layout='pairs', tied=tied,
    )  # fmt: skip
    floats, at = np.frombuffer(data, np.float32, offset=28), 0

    def read(*shape):
        nonlocal at
        size = int(np.prod(shape))
        if at + size > floats.size:
            raise UserError(
                f'model.path: {path} ends before its weights do; copy it again'
            )
        at += size
        return floats[at - size : at].reshape(shape)

    def kernel(out, inner):
        return read(L, out, inner).swapaxes(1, 2)

    embed, attention_norm = read(V, D), read(L, D)
    q = kernel(H * N, D).reshape(L, D, H, N)
    k = kernel(K * N, D).reshape(L, D, K, N)
    v = kernel(K * N, D).reshape(L, D, K, N)
    o = kernel(D, H * N).reshape(L, H, N, D)
    mlp_norm, gate, down, up = read(L, D), kernel(F, D), kernel(D, F), kernel(F, D)
    params = {
        'embed': embed,
        'layers': {
            'attention': {'norm': attention_norm, 'q': q, 'k': k, 'v': v, 'o': o},
            'mlp': {'norm': mlp_norm, 'gate': gate, 'up': up, 'down': down},
        },
        'norm': read(D),
    }
    read(2, T, N // 2)  # the rotary tables, which are computed here
    if not tied:
        params['unembed'] = read(V, D).T
    if at < floats.size:
        raise UserError(
            f'model.path: {path} has more bytes after its weights; copy it again, or '
            'give a llama2.c model of version 0'
        )
    return arch, jax.tree.map(lambda x: jax.numpy.asarray(x), params)
