"""Copies random parameters into a model of transformers, for `tests/reference`.

Importing it needs torch and transformers, which `scripts/test` installs.
"""

import jax
import numpy as np
import torch
import transformers

from perl.models.architecture import Architecture


def causal_lm(arch: Architecture, params):
    """A Llama model, or Qwen 2 if queries, keys and values have biases."""
    family = 'Qwen2' if arch.qkv_bias else 'Llama'
    config = getattr(transformers, f'{family}Config')(
        vocab_size=arch.vocabulary,
        hidden_size=arch.width,
        intermediate_size=arch.hidden,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.kv_heads,
        rms_norm_eps=arch.norm_eps,
        rope_parameters={'rope_type': 'default', 'rope_theta': arch.rope_theta},
        tie_word_embeddings=arch.tied,
    )
    model = getattr(transformers, f'{family}ForCausalLM')(config).eval()
    model.load_state_dict(state_dict(arch, params))
    return model


def state_dict(arch: Architecture, params) -> dict[str, torch.Tensor]:
    """Parameters under the names of transformers, kernels as `[outputs, inputs]`."""
    ours = jax.tree.map(np.array, params)
    unembed = ours['embed'] if arch.tied else ours['unembed'].T
    state = {
        'model.embed_tokens.weight': ours['embed'],
        'model.norm.weight': ours['norm'],
        'lm_head.weight': unembed,
    }
    attention, mlp = ours['layers']['attention'], ours['layers']['mlp']
    for i in range(arch.layers):
        at = f'model.layers.{i}.'
        state[f'{at}input_layernorm.weight'] = attention['norm'][i]
        state[f'{at}post_attention_layernorm.weight'] = mlp['norm'][i]
        for name in 'qkvo':
            inputs = arch.heads * arch.head_width if name == 'o' else arch.width
            kernel = attention[name][i].reshape(inputs, -1).T
            state[f'{at}self_attn.{name}_proj.weight'] = kernel
            if f'{name}_bias' in attention:
                bias = attention[f'{name}_bias'][i].reshape(-1)
                state[f'{at}self_attn.{name}_proj.bias'] = bias
        for name in ('gate', 'up', 'down'):
            state[f'{at}mlp.{name}_proj.weight'] = mlp[name][i].T
    return {name: tensor(x) for name, x in state.items()}


def tensor(x) -> torch.Tensor:
    """An array as a torch tensor (a copy)."""
    return torch.tensor(np.ascontiguousarray(x))


def ids(tokens) -> torch.Tensor:
    """Token ids as an int64 torch tensor."""
    return torch.tensor(np.asarray(tokens, np.int64))
