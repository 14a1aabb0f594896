"""Models of transformers to be adapted by PEFT, and their weights as ours.

Importing it needs torch and transformers, which `scripts/test` installs.
"""

import functools
import json

import foreign_models
import transformers

from perl.models.families import from_foreign, load

LLAMA = ['q_proj', 'v_proj', 'o_proj', 'gate_proj', 'down_proj']  # targets


@functools.cache
def base(family):
    """The decoder and the parameters of a tiny model."""
    model = foreign_models.model_of(family)
    config = foreign_models.raw_config(family)
    arch = from_foreign(config)[1]
    params = load(foreign_models.checkpoint(model, config), arch, 'float32')
    return arch, params


def fresh(family, scores=False):
    """A model of transformers with the weights of `base`, its own to change."""
    causal = foreign_models.model_of(family)
    kind = transformers.AutoModelForCausalLM
    if scores:
        kind = transformers.AutoModelForSequenceClassification
    config = json.loads(causal.config.to_json_string(use_diff=False))
    config |= {'num_labels': 1, 'pad_token_id': 0} if scores else {}
    config = transformers.AutoConfig.for_model(**config)
    model = kind.from_config(config, attn_implementation='eager')
    lost = model.load_state_dict(causal.state_dict(), strict=False)
    assert lost.missing_keys == (['score.weight'] if scores else [])
    return model.eval()
