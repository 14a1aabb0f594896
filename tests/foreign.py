"""Tiny checkpoints as Hugging Face has them, without transformers."""

import json

import numpy as np
from safetensors.numpy import save_file

from perl.models.files import Tensor

CONFIG = {
    'architectures': ['LlamaForCausalLM'],
    'model_type': 'llama',
    'vocab_size': 32,
    'hidden_size': 16,
    'intermediate_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 4,
    'max_position_embeddings': 64,
    'rms_norm_eps': 1e-5,
    'rope_theta': 10000.0,
    'hidden_act': 'silu',
    'tie_word_embeddings': False,
    'bos_token_id': 1,
    'eos_token_id': 2,
}


def arrays(config=CONFIG, seed=0, dtype=np.float32):
    """Random arrays of a Llama by name."""
    rng = np.random.default_rng(seed)
    width, hidden = config['hidden_size'], config['intermediate_size']
    own, keys = (
        config[f'num_{x}_heads'] * config['head_dim']
        for x in ('attention', 'key_value')
    )
    shapes = {
        'self_attn.q_proj': (own, width),
        'self_attn.k_proj': (keys, width),
        'self_attn.v_proj': (keys, width),
        'self_attn.o_proj': (width, own),
        'mlp.gate_proj': (hidden, width),
        'mlp.up_proj': (hidden, width),
        'mlp.down_proj': (width, hidden),
        'input_layernorm': (width,),
        'post_attention_layernorm': (width,),
    }
    named = {
        'model.embed_tokens': (config['vocab_size'], width),
        'model.norm': (width,),
    }
    for i in range(config['num_hidden_layers']):
        named |= {f'model.layers.{i}.{name}': shape for name, shape in shapes.items()}
    if not config['tie_word_embeddings']:
        named['lm_head'] = (config['vocab_size'], width)
    return {
        f'{name}.weight': (
            rng.normal(size=shape) * shape[-1] ** -0.5
            if len(shape) > 1
            else 1 + 0.1 * rng.normal(size=shape)
        ).astype(dtype)
        for name, shape in named.items()
    }


def tensors(values=None):
    """The arrays as tensors of a checkpoint."""
    values = arrays() if values is None else values
    return {name: Tensor.of(array) for name, array in values.items()}


def write(folder, values=None, config=CONFIG):
    """A folder with one file of safetensors, which is given back."""
    folder.mkdir(parents=True, exist_ok=True)
    values = arrays(config) if values is None else values
    save_file(values, folder / 'model.safetensors', metadata={'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps(config))
    return folder
