"""GGUF files written by the package `gguf`: tiny models and whatever else is asked."""

import math

import gguf
import numpy as np

KINDS = gguf.GGMLQuantizationType
VALUES = gguf.GGUFValueType
SIZES = {
    'block_count': 2,
    'context_length': 64,
    'embedding_length': 32,
    'feed_forward_length': 64,
    'attention.head_count': 4,
    'attention.head_count_kv': 2,
    'attention.layer_norm_rms_epsilon': 1e-5,
    'rope.freq_base': 10000.0,
    'vocab_size': 96,
}
VOCABULARY = 96
_TYPES = {bool: VALUES.BOOL, int: VALUES.UINT32, float: VALUES.FLOAT32}


def write(file, arch='llama', values=(), tensors=(), said=()):
    """A file of an architecture.

    Args:
        file: its path, which is given back.
        arch: of `general.architecture`.
        values: its settings, without the name of the architecture before them.
        tensors: by name: an array, or bytes as uint8 with their packing.
        said: other metadata by their whole keys.
    """
    writer = gguf.GGUFWriter(file, arch)
    named = {f'{arch}.{key}': value for key, value in dict(values).items()}
    for key, value in {**named, **dict(said)}.items():
        add(writer, key, value)
    for name, tensor in dict(tensors).items():
        array, kind = tensor if isinstance(tensor, tuple) else (tensor, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add(writer, key, value):
    """One value of a kind that follows from its type."""
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    else:
        writer.add_key_value(key, value, _TYPES[type(value)])


def packed(array, kind):
    """An array packed by the package, with its packing."""
    return gguf.quants.quantize(array, KINDS[kind]), KINDS[kind]


def random_blocks(rng, shape, kind):
    """Blocks of a kind that the package cannot write: bits at random, scales small."""
    block, nbytes = gguf.GGML_QUANT_SIZES[KINDS[kind]]
    rows = rng.integers(0, 256, (shape[0], shape[1] // block, nbytes), np.uint8)
    for at in {'Q4_K': (0, 2), 'Q5_K': (0, 2), 'Q6_K': (nbytes - 2,)}[kind]:
        scale = rng.uniform(-1e-2, 1e-2, rows.shape[:2]).astype(np.float16)
        rows[..., at : at + 2] = scale[..., None].view(np.uint8)
    return rows.reshape(shape[0], -1), KINDS[kind]


def tensors(arch='llama', sizes=None, seed=0, tied=False):
    """Random float32 tensors of a tiny model, by the names of llama.cpp."""
    sizes, rng = {**SIZES, **(sizes or {})}, np.random.default_rng(seed)
    width, hidden = sizes['embedding_length'], sizes['feed_forward_length']
    heads, keys = sizes['attention.head_count'], sizes['attention.head_count_kv']
    head = sizes.get('attention.key_length', width // heads)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32) * shape[-1] ** -0.5

    def norm(length):
        return (1 + 0.1 * rng.normal(size=length)).astype(np.float32)

    made = {
        'token_embd.weight': draw(VOCABULARY, width),
        'output_norm.weight': norm(width),
    }
    if not tied:
        made['output.weight'] = draw(VOCABULARY, width)
    for i in range(sizes['block_count']):
        own = {
            'attn_norm.weight': norm(width),
            'attn_q.weight': draw(heads * head, width),
            'attn_k.weight': draw(keys * head, width),
            'attn_v.weight': draw(keys * head, width),
            'attn_output.weight': draw(width, heads * head),
            'ffn_norm.weight': norm(width),
            'ffn_gate.weight': draw(hidden, width),
            'ffn_up.weight': draw(hidden, width),
            'ffn_down.weight': draw(width, hidden),
        }
        if arch == 'qwen2':
            own |= {
                f'attn_{x}.bias': draw(n * head)
                for x, n in zip('qkv', (heads, keys, keys), strict=True)
            }
        if arch in ('qwen3', 'gemma3'):
            own |= {'attn_q_norm.weight': norm(head), 'attn_k_norm.weight': norm(head)}
        if arch in ('gemma2', 'gemma3'):
            own |= {
                'post_attention_norm.weight': norm(width),
                'post_ffw_norm.weight': norm(width),
            }
        made |= {f'blk.{i}.{name}': x for name, x in own.items()}
    return made


def factors(half, theta=10000.0, factor=32.0, length=8192):
    """What llama.cpp writes for Llama 3 (convert_hf_to_gguf.py, loop by loop)."""
    found = []
    for i in range(half):
        wavelength = 2 * math.pi * theta ** (i / half)
        if wavelength < length / 4.0:
            found.append(1)
        elif wavelength > length / 1.0:
            found.append(factor)
        else:
            smooth = (length / wavelength - 1.0) / (4.0 - 1.0)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, np.float32)
