"""Bases on disk: our folder of safetensors and numbers, and llama2.c files."""

import dataclasses
import hashlib
import pathlib
import struct
from typing import Any

import jax
import numpy as np

from perl.models.architecture import DTYPES, Architecture, parameters
from perl.system import arrays, disk, jsonl, sealed
from perl.system.errors import UserError
from perl.weights import abstract, flatten, unflatten

CARD, ARRAYS = 'model.json', 'model.safetensors'


def save(folder: pathlib.Path, arch: Architecture, params: Any) -> None:
    """Writes `model.safetensors`, and then `model.json` with the architecture and the
    sha256 of the weights: a folder that has it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    arrays.save(folder / ARRAYS, flatten(params))
    digest = arrays.digest(folder / ARRAYS)
    sealed.save(folder / CARD, {**dataclasses.asdict(arch), 'sha256': digest})


def load(path: str | pathlib.Path) -> tuple[Architecture, Any]:
    """A base from a folder that `save` wrote, or from a llama2.c `.bin` file.

    Raises:
        UserError: it is not there, damaged, or not what its `model.json` says.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == '.bin' and path.is_file():
            arch, params = load_llama2c(path)
            arrays.check_finite(flatten(params))
        else:
            arch, digest = _read_card(path / CARD)
            params = unflatten(arrays.load(path / ARRAYS, digest))
            check(params, arch, str(path))
    except UserError:
        raise
    except FileNotFoundError as error:
        foreign = jsonl.load(path / 'config.json').get('model_type')
        if foreign and not (path / CARD).exists():
            raise UserError(
                f'model.path: {path} holds a {foreign} checkpoint of Hugging Face, '
                f'which is not read; give a folder with {CARD} and {ARRAYS}, such as '
                'the pretrain/base of another run, or a llama2.c .bin file'
            ) from None
        raise UserError(
            f'model.path: {error.filename} is not there; give a folder with {CARD} and '
            f'{ARRAYS} or of Hugging Face, a .gguf file, or a llama2.c .bin file'
        ) from None
    except OSError as error:
        raise UserError(
            f'model.path: {error.filename or path} cannot be read: {error.strerror}; '
            f'{disk.mend(error)}'
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f'model.path: {path} is damaged ({error}); write or copy it again'
        ) from None
    return arch, params


def _read_card(file):
    """The architecture, and the sha256 of the weights: None in files of old."""
    values = sealed.load(file)
    digest = values.pop('sha256', None)
    try:
        return Architecture(**values), digest
    except UserError as error:
        raise UserError(f'{file}: {error}') from None


def changed(arch: Architecture, **fields: Any) -> Architecture:
    """The same decoder, run in another way (dtype, scan, remat)."""
    return dataclasses.replace(arch, **fields)


def check(params: Any, arch: Architecture, where: str) -> None:
    """Raises a `UserError` unless the parameters have the shapes of `arch`, and are
    floating-point numbers that it can compute with."""
    wanted, flat = flatten(abstract(parameters(arch))), flatten(params)
    for name in sorted(wanted.keys() | flat.keys()):
        want, got = (getattr(t.get(name), 'shape', None) for t in (wanted, flat))
        if want != got:
            raise UserError(
                f'{where}: {name} has shape {got}, the architecture wants {want}; '
                'use the model.json that belongs to these weights'
            )
    for name, x in flat.items():
        if str(x.dtype) not in DTYPES:
            raise UserError(
                f'model.path: {where}: {name} has the dtype {x.dtype}, not one of '
                f'{", ".join(DTYPES)}; convert the weights'
            )


def fingerprint(params: Any) -> str:
    """16 hexadecimal digits that tell one base from another."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten(params).items()):
        digest.update(f'{name} {leaf.dtype} {leaf.shape}'.encode())
        whole = np.ascontiguousarray(jax.device_get(leaf))
        digest.update(whole.reshape(-1).view(np.uint8))  # its memory, without a copy
    return digest.hexdigest()[:16]


def load_llama2c(path: pathlib.Path) -> tuple[Architecture, Any]:
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
            f'model.path: {path} goes on after its weights; copy it again, or give a '
            'llama2.c model of version 0'
        )
    return arch, jax.tree.map(lambda x: jax.numpy.asarray(x), params)
