"""LoRA beside PEFT: forward, gradients, scales and merging."""

import functools

import hugging_face
import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import tiny
import torch

from perl.adapters import tree
from perl.adapters.tunings import LoraTuning
from perl.models import decoder
from perl.weights import flatten

TARGETS = ('layers/attention/(q|k|v|o)', 'layers/mlp/(gate|up|down)')
NAMES = {
    **{name: f'self_attn.{name}_proj' for name in 'qkvo'},
    **{name: f'mlp.{name}_proj' for name in ('gate', 'up', 'down')},
}
KINDS = {
    'plain': LoraTuning(3, 6.0, targets=TARGETS),
    'rank-stabilised': LoraTuning(4, 6.0, rank_stabilised=True, targets=TARGETS),
}
TOKENS, POSITIONS = tiny.rows((2, 7))


def adapted(kind, base, delta):
    """The same factors in PEFT's model."""
    config = peft.LoraConfig(
        r=kind.rank,
        lora_alpha=kind.alpha,
        use_rslora=kind.rank_stabilised,
        target_modules=list(NAMES.values()),
        lora_dropout=0.0,
    )
    model = peft.get_peft_model(hugging_face.causal_lm(tiny.ARCH, base), config)
    modules = dict(model.named_modules())
    with torch.no_grad():
        for path, lora in flatten(delta).items():
            for i in range(tiny.ARCH.layers):
                name = NAMES[path.split('/')[-1]]
                module = modules[f'base_model.model.model.layers.{i}.{name}']
                a = np.asarray(lora.a[i]).reshape(-1, lora.a.shape[-1]).T
                b = np.asarray(lora.b[i]).reshape(lora.b.shape[1], -1).T
                module.lora_A['default'].weight.copy_(hugging_face.tensor(a))
                module.lora_B['default'].weight.copy_(hugging_face.tensor(b))
    return model.eval(), modules


@functools.cache
def case(name):
    kind = KINDS[name]
    base, delta = tiny.weights(seed=6), tiny.adapter(kind=kind, seed=7)
    return base, delta, *adapted(kind, base, delta)


@jax.jit
def logits(base, delta):
    params = tree.bind(base, delta)
    states = decoder.hidden(tiny.ARCH, params, TOKENS, POSITIONS)
    return decoder.unembed(tiny.ARCH, params, states)


@pytest.mark.parametrize('name', KINDS)
def test_logits(name):
    base, delta, model, _ = case(name)
    with torch.no_grad():
        want = model(hugging_face.ids(TOKENS)).logits.numpy()
    got = logits(base, delta)
    np.testing.assert_allclose(got, want, atol=2e-4, rtol=1e-4)
    assert np.abs(got - logits(base, {})).max() > 0.1


@pytest.mark.parametrize('name', KINDS)
def test_gradients_of_the_factors(name):
    base, delta, model, modules = case(name)
    weight = np.random.default_rng(8).normal(size=(2, 7, tiny.ARCH.vocabulary))
    weight = weight.astype(np.float32)
    got = jax.grad(lambda d: jnp.sum(logits(base, d) * weight))(delta)
    model.zero_grad()
    total = (model(hugging_face.ids(TOKENS)).logits * torch.tensor(weight)).sum()
    total.backward()
    for path, lora in flatten(got).items():
        for i in range(tiny.ARCH.layers):
            name = NAMES[path.split('/')[-1]]
            module = modules[f'base_model.model.model.layers.{i}.{name}']
            a = module.lora_A['default'].weight.grad.numpy().T
            b = module.lora_B['default'].weight.grad.numpy().T
            for mine, theirs in ((lora.a[i], a), (lora.b[i], b)):
                mine = np.asarray(mine).reshape(theirs.shape)
                scale = np.abs(theirs).max()
                np.testing.assert_allclose(mine / scale, theirs / scale, atol=1e-4)


def test_merged_kernels():
    base, delta, model, _ = case('plain')
    merged = flatten(tree.merge(base, delta))
    theirs = dict(model.merge_and_unload().named_parameters())
    for name, module in NAMES.items():
        room = 'attention' if name in 'qkvo' else 'mlp'
        for i in range(tiny.ARCH.layers):
            want = theirs[f'model.layers.{i}.{module}.weight'].detach().numpy().T
            got = np.asarray(merged[f'layers/{room}/{name}'][i]).reshape(want.shape)
            np.testing.assert_allclose(got, want, atol=1e-5)
