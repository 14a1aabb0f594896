"""Writes a Llama with random weights, for `load` to read."""

import argparse

import jax
import numpy as np

from perl.models.files import Tensor, write_checkpoint


def measure(args: argparse.Namespace) -> dict:
    """Writes a Llama with random weights, of the flags' shape, in several files."""
    width, head = args.d, args.d // args.heads
    keys = (args.kv_heads or args.heads) * head
    layer = {
        'self_attn.q_proj': (args.heads * head, width),
        'self_attn.k_proj': (keys, width),
        'self_attn.v_proj': (keys, width),
        'self_attn.o_proj': (width, args.heads * head),
        'mlp.gate_proj': (args.ff, width),
        'mlp.up_proj': (args.ff, width),
        'mlp.down_proj': (width, args.ff),
        'input_layernorm': (width,),
        'post_attention_layernorm': (width,),
    }
    shapes = {'model.embed_tokens': (args.vocab, width), 'model.norm': (width,)}
    for i in range(args.layers):
        shapes |= {f'model.layers.{i}.{name}': own for name, own in layer.items()}
    rng = np.random.default_rng(0)
    dtype = jax.numpy.dtype(args.dtype)
    kind = np.dtype(f'uint{8 * dtype.itemsize}').type
    one = np.ones((), dtype).view(kind)

    def draw(shape):  # the last bits of 1: no array of another dtype on the way
        return (rng.integers(0, 2**7, shape, kind) | one).view(dtype)

    tensors = {
        f'{name}.weight': Tensor(own, dtype, lambda own=own: draw(own))
        for name, own in shapes.items()
    }
    config = {
        'model_type': 'llama',
        'vocab_size': args.vocab,
        'hidden_size': width,
        'intermediate_size': args.ff,
        'num_hidden_layers': args.layers,
        'num_attention_heads': args.heads,
        'num_key_value_heads': args.kv_heads or args.heads,
        'head_dim': head,
        'max_position_embeddings': 4096,
        'rms_norm_eps': 1e-5,
        'rope_theta': 10000.0,
        'hidden_act': 'silu',
        'tie_word_embeddings': True,
    }
    write_checkpoint(args.folder, config, tensors, shard_bytes=2**28)
    return {'checkpoint_mb': round(sum(x.nbytes for x in tensors.values()) / 2**20)}
