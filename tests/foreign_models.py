"""Tiny random models of transformers, of every family and of odd shapes.

Importing it needs torch and transformers, which `scripts/test` installs.
"""

import functools
import json
import pathlib

import numpy as np
import tokenizer_files
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from perl.models.files import Checkpoint, Tensor

SIZES = {
    'vocab_size': 61,
    'hidden_size': 24,
    'intermediate_size': 40,
    'num_hidden_layers': 2,
    'num_attention_heads': 8,
    'num_key_value_heads': 2,
    'head_dim': 6,
    'max_position_embeddings': 64,
    'bos_token_id': None,
    'eos_token_id': None,
    'pad_token_id': None,
}
NEOX = {k: v for k, v in SIZES.items() if k not in ('head_dim', 'num_key_value_heads')}
NEOX |= {'hidden_size': 80, 'num_attention_heads': 4}
GPT2 = {k: v for k, v in SIZES.items() if k.endswith(('_id', 'vocab_size'))}
GPT2 |= {'n_embd': 24, 'n_head': 4, 'n_layer': 2, 'n_positions': 40}
LLAMA3 = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0}
LLAMA3 |= {'high_freq_factor': 4.0, 'original_max_position_embeddings': 12}
YARN = {'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 12}
LONG = {'type': 'longrope', 'short_factor': [1.0, 1.3], 'long_factor': [2.0, 4.0]}
MIXED = ['full_attention', 'sliding_attention', 'sliding_attention']

# by family and what is odd about it: the content of a config.json
CASES = {
    'llama': {},
    'llama, tied': {'tie_word_embeddings': True, 'rope_theta': 500000.0},
    'llama, biases': {'attention_bias': True, 'mlp_bias': True, 'hidden_act': 'gelu'},
    'llama, as many key heads': {
        'num_key_value_heads': None, 'head_dim': None, 'num_attention_heads': 4,
    },
    'llama, llama3': {'rope_scaling': LLAMA3, 'rope_theta': 500.0},
    'llama, linear': {'rope_scaling': {'type': 'linear', 'factor': 2.5}},
    'llama, yarn': {'rope_scaling': YARN},
    'llama, yarn, all': {
        'rope_scaling': {
            **YARN, 'beta_fast': 4.0, 'beta_slow': 0.5, 'mscale': 0.7,
            'mscale_all_dim': 0.3, 'truncate': False,
        }
    },
    'llama, parameters': {
        'rope_parameters': {**LLAMA3, 'rope_theta': 3000.0},
        'rms_norm_eps': 1e-3,
    },
    'mistral': {'sliding_window': 5},
    'mistral, no window': {'sliding_window': None},
    'qwen2': {'tie_word_embeddings': True, 'use_sliding_window': False},
    'qwen2, windows': {
        'use_sliding_window': True, 'sliding_window': 4, 'max_window_layers': 1,
        'rope_scaling': YARN,
    },
    'qwen3': {'attention_bias': True},
    'qwen3, kinds': {
        'layer_types': MIXED, 'num_hidden_layers': 3, 'use_sliding_window': True,
        'sliding_window': 3,
    },
    'gemma': {'hidden_act': 'gelu', 'num_key_value_heads': 1},
    'gemma2': {
        'sliding_window': 5, 'query_pre_attn_scalar': 10, 'attention_bias': True,
        'num_hidden_layers': 3, 'attn_logit_softcapping': 2.0,
        'final_logit_softcapping': 15.0,
    },
    'gemma2, no caps': {
        'sliding_window': 3, 'attn_logit_softcapping': None,
        'final_logit_softcapping': None, 'tie_word_embeddings': False,
    },
    'gemma3_text': {
        'sliding_window': 4, 'sliding_window_pattern': 3, 'num_hidden_layers': 4,
        'rope_theta': 5000.0, 'rope_local_base_freq': 100.0,
        'rope_scaling': {'rope_type': 'linear', 'factor': 8.0},
        'final_logit_softcapping': 3.0, 'query_pre_attn_scalar': 16,
    },
    'gemma3_text, parameters': {
        'sliding_window': 4, 'layer_types': MIXED, 'num_hidden_layers': 3,
        'rope_parameters': {
            'full_attention': {'rope_type': 'default', 'rope_theta': 700.0},
            'sliding_attention': {'rope_type': 'default', 'rope_theta': 30.0},
        },
    },
    'gemma3_text, no windows': {
        'sliding_window': 4, 'layer_types': ['full_attention', 'full_attention'],
    },
    'smollm3': {'num_hidden_layers': 5},
    'smollm3, own layers': {
        'no_rope_layers': [1, 0, 0], 'num_hidden_layers': 3, 'mlp_bias': True,
        'tie_word_embeddings': False, 'use_sliding_window': True, 'sliding_window': 4,
    },
    'phi3': {'sliding_window': 6},
    'phi3, partial': {'partial_rotary_factor': 0.75, 'tie_word_embeddings': True},
    'phi3, longrope': {
        'rope_scaling': LONG, 'partial_rotary_factor': 0.75,
        'original_max_position_embeddings': 48, 'max_position_embeddings': 96,
        'hidden_size': 48,
    },
    'olmo2': {'rope_theta': 777.0},
    'olmo2, biases': {'attention_bias': True, 'tie_word_embeddings': True},
    'gpt_neox': {},
    'gpt_neox, serial': {
        'use_parallel_residual': False, 'rotary_pct': 0.5, 'rotary_emb_base': 300,
        'attention_bias': False, 'tie_word_embeddings': True,
    },
    'gpt_neox, whole': {
        'rotary_pct': 1.0, 'rope_scaling': {'type': 'linear', 'factor': 2.0},
        'hidden_act': 'gelu_new',
    },
    'gpt2': {},
    'gpt2, odd': {
        'n_inner': 30, 'activation_function': 'relu', 'scale_attn_weights': False,
        'tie_word_embeddings': False, 'n_head': 8,
    },
}  # fmt: skip
# what `save_pretrained` names otherwise than the model does
RENAMED = {'gpt_neox': {'lm_head.weight': 'embed_out.weight'}}
_BASES = {'gpt_neox': NEOX, 'gpt2': GPT2}


def raw_config(case: str) -> dict:
    """The content of a `config.json`, in the older spelling."""
    family = case.split(',')[0]
    base = _BASES.get(family, SIZES)
    return {'model_type': family, **base, **CASES[case]}


@functools.cache
def model_of(case: str) -> transformers.PreTrainedModel:
    """The model of a case; each of its weights and biases matters."""
    raw = json.loads(json.dumps(raw_config(case)))
    config = CONFIG_MAPPING[raw.pop('model_type')].from_dict(raw)
    torch.manual_seed(len(case))
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation='eager'
    )
    randomise(model)
    return model.eval()


def randomise(model: torch.nn.Module) -> None:
    """Random numbers of unit gain in every parameter, norms and biases too."""
    for name, x in model.named_parameters():
        scale = x.shape[-1] ** -0.5 if x.ndim > 1 else 0.3
        moved = 1.0 if x.ndim == 1 and 'norm' in name and 'bias' not in name else 0.0
        x.data = moved + scale * torch.randn(x.shape)
        if name.endswith(('embed_tokens.weight', 'embed_in.weight', 'wte.weight')):
            x.data = 0.7 * torch.randn(x.shape)


def checkpoint(model: transformers.PreTrainedModel, config: dict) -> Checkpoint:
    """A model as its files would have it: of tensors that are tied, one."""
    tied = model.config.tie_word_embeddings
    renamed = RENAMED.get(config['model_type'], {})
    tensors = {
        renamed.get(name, name): Tensor.of(x.numpy().copy())
        for name, x in model.state_dict().items()
        if not (tied and name == 'lm_head.weight')
    }
    return Checkpoint(config, tensors)


def logits(model, tokens, positions=None, mask=None) -> np.ndarray:
    """Logits `[B, T, V]` of transformers."""
    options = {}
    if mask is not None:
        options['attention_mask'] = torch.tensor(np.asarray(mask, np.int64))
    if positions is not None:
        options['position_ids'] = torch.tensor(np.asarray(positions, np.int64))
    with torch.no_grad():
        ids = torch.tensor(np.asarray(tokens, np.int64))
        return model(ids, use_cache=False, **options).logits.numpy()


def save_llama(folder: pathlib.Path) -> pathlib.Path:
    """A folder with a Llama whose tokenizer pads with eos, as many of them do."""
    tokenizer = tokenizer_files.byte_level(add_prefix_space=False)
    sizes = {**SIZES, 'vocab_size': 320, 'max_position_embeddings': 128}
    config = transformers.LlamaConfig(**{**sizes, 'bos_token_id': 1, 'eos_token_id': 2})
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    randomise(model)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / 'tokenizer.json'))
    names = [tokenizer.id_to_token(i) for i in (1, 2)]
    said = dict(zip(('bos_token', 'eos_token'), names, strict=True))
    said |= {'pad_token': names[1], 'tokenizer_class': 'PreTrainedTokenizerFast'}
    (folder / 'tokenizer_config.json').write_text(json.dumps(said))
    return folder
