"""LoRA, rsLoRA, DoRA and PiSSA beside PEFT: start, forward, gradients, merging."""

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
from perl.adapters.tunings.dora import DoraTuning
from perl.adapters.tunings.pissa import PissaTuning
from perl.models import architecture, decoder
from perl.weights import Leaf, flatten

TARGETS = ('layers/attention/(q|k|v|o)', 'layers/mlp/(gate|up|down)')
NAMES = {
    **{name: f'self_attn.{name}_proj' for name in 'qkvo'},
    **{name: f'mlp.{name}_proj' for name in ('gate', 'up', 'down')},
}
KINDS = {
    'plain': LoraTuning(3, 6.0, targets=TARGETS),
    'rank-stabilised': LoraTuning(4, 6.0, rank_stabilised=True, targets=TARGETS),
    'dora': DoraTuning(3, 6.0, targets=TARGETS),
    'pissa': PissaTuning(3, 6.0, targets=TARGETS),
}
# our name of an array of a module, and PEFT's
ARRAYS = {'a': 'lora_A', 'b': 'lora_B', 'magnitude': 'lora_magnitude_vector'}
TOKENS, POSITIONS = tiny.rows((2, 7))


def adapted(kind, base, delta):
    """The same factors in PEFT's model."""
    config = peft.LoraConfig(
        r=kind.rank,
        lora_alpha=kind.alpha,
        use_rslora=kind.rank_stabilised,
        target_modules=list(NAMES.values()),
        lora_dropout=0.0,
        use_dora=kind.name == 'dora',
        init_lora_weights='pissa' if kind.name == 'pissa' else True,
    )
    model = peft.get_peft_model(hugging_face.causal_lm(tiny.ARCH, base), config)
    modules = dict(model.named_modules())
    if delta is not None:
        with torch.no_grad():
            for _, _, mine, theirs in pairs(delta, modules):
                theirs.copy_(hugging_face.tensor(mine))
            if kind.name == 'pissa':
                _take_away_start(base, delta, modules)
    return model.eval(), modules


def _take_away_start(base, delta, modules):
    """Puts W - s A0 B0 into PEFT's base with our A0 and B0. It has its own, which are
    equal up to the rounding of two programs for singular values: see
    `test_the_start_is_that_of_peft`."""
    kernels = flatten(base)
    for path, pissa in flatten(delta).items():
        for i in range(tiny.ARCH.layers):
            kernel, a, b = (
                np.asarray(x[i], np.float64)
                for x in (kernels[path], pissa.start_a, pissa.start_b)
            )
            a, b = a.reshape(-1, a.shape[-1]), b.reshape(b.shape[0], -1)
            rest = kernel.reshape(len(a), -1) - pissa.scale * a @ b
            place = NAMES[path.split('/')[-1]]
            module = modules[f'base_model.model.model.layers.{i}.{place}']
            module.base_layer.weight.copy_(torch.tensor(rest.T))


def pairs(delta, modules):
    """(path, name, our array as PEFT lays it out, PEFT's parameter) of each array that
    is trained, layer by layer."""
    for path, lora in flatten(delta).items():
        for i in range(tiny.ARCH.layers):
            place = NAMES[path.split('/')[-1]]
            module = modules[f'base_model.model.model.layers.{i}.{place}']
            for name, theirs in ARRAYS.items():
                if hasattr(lora, name):
                    mine = np.asarray(getattr(lora, name)[i])
                    weight = getattr(module, theirs)['default'].weight
                    flat = (
                        (-1, lora.a.shape[-1])
                        if name == 'a'
                        else ((lora.b.shape[1], -1) if name == 'b' else (-1,))
                    )
                    yield path, name, mine.reshape(flat).T, weight


def moved(kind, base, seed):
    """A delta that has left its start, but for what is kept."""
    rng = np.random.default_rng(seed)
    leaves = architecture.parameters(tiny.ARCH)
    fresh = kind.init(jax.random.key(seed), base, leaves)
    return jax.tree.map(
        lambda leaf, x: x + leaf.rate * 0.2 * rng.normal(size=x.shape).astype('f'),
        kind.declare(leaves),
        fresh,
        is_leaf=lambda x: isinstance(x, Leaf),
    )


@functools.cache
def case(name):
    kind = KINDS[name]
    base = tiny.weights(seed=6)
    delta = moved(kind, base, seed=7)
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
    np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)
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
    for path, name, mine, theirs in pairs(got, modules):
        grad = theirs.grad.numpy()
        scale = np.abs(grad).max()
        np.testing.assert_allclose(
            mine / scale, grad / scale, atol=1e-5, err_msg=f'{path} {name}'
        )


@pytest.mark.parametrize('name', ['dora', 'pissa'])
def test_the_start_is_that_of_peft(name):
    """Magnitudes, and the products of the singular vectors, whose signs are free."""
    kind, base = KINDS[name], tiny.weights(seed=6)
    _, modules = adapted(kind, base, None)
    fresh = kind.init(jax.random.key(0), base, architecture.parameters(tiny.ARCH))
    found = {}
    for path, array, mine, theirs in pairs(fresh, modules):
        found.setdefault(path, []).append((array, mine, theirs.detach().numpy()))
    for arrays in found.values():
        for array, mine, theirs in arrays:
            if array == 'magnitude':
                np.testing.assert_allclose(mine, theirs, rtol=1e-5)
        if name == 'pissa':
            factors = arrays[:2]  # of the first layer
            (_, a, their_a), (_, b, their_b) = factors
            np.testing.assert_allclose(b @ a, their_b @ their_a, atol=1e-5)


@pytest.mark.parametrize('name', KINDS)
def test_merged_kernels(name):
    kind, base = KINDS[name], tiny.weights(seed=6)
    delta = moved(kind, base, seed=7)
    merged = flatten(tree.merge(base, delta))
    model, _ = adapted(kind, base, delta)
    theirs = dict(model.merge_and_unload().named_parameters())
    for name, module in NAMES.items():
        room = 'attention' if name in 'qkvo' else 'mlp'
        for i in range(tiny.ARCH.layers):
            want = theirs[f'model.layers.{i}.{module}.weight'].detach().numpy().T
            got = np.asarray(merged[f'layers/{room}/{name}'][i]).reshape(want.shape)
            np.testing.assert_allclose(got, want, atol=1e-5)
