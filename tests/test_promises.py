"""No merged kernel and no gradient of one; one base under all roles."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from perl import weights
from perl.adapters import tree
from perl.adapters.tunings import LoraTuning
from perl.models import architecture
from perl.stages import language, reward
from perl.training.step import init, step

# what moves the numbers of a frozen kernel without computing any
MOVES = {'slice', 'dynamic_slice', 'unstack', 'squeeze', 'reshape', 'transpose', 'copy'}


def equations(jaxpr):
    """Every equation that computes something, of inner jaxprs too."""
    for eqn in jaxpr.eqns:
        inner = [
            sub
            for value in eqn.params.values()
            for sub in (value if isinstance(value, (tuple, list)) else [value])
            if hasattr(sub, 'eqns') or hasattr(sub, 'jaxpr')
        ]
        if not inner:
            yield eqn
        for sub in inner:
            yield from equations(getattr(sub, 'jaxpr', sub))


def weight_shaped(function, *args, arch):
    """Primitives of `function` that make a float array of the shape of a kernel, of
    all layers or one, as a tensor or as a matrix, as it is or transposed."""
    shapes = set()
    for path, leaf in weights.flatten(architecture.parameters(arch)).items():
        if leaf.inputs:
            layer = leaf.shape[1:] if path.startswith('layers') else leaf.shape
            matrix = math.prod(layer[: leaf.inputs]), math.prod(layer[leaf.inputs :])
            shapes |= {s for x in (leaf.shape, layer, matrix) for s in (x, x[::-1])}
    return sorted(
        {
            f'{eqn.primitive} {out.aval.shape}'
            for eqn in equations(jax.make_jaxpr(function)(*args).jaxpr)
            for out in eqn.outvars
            if out.aval.shape in shapes
            and jnp.issubdtype(out.aval.dtype, jnp.floating)
            and eqn.primitive.name not in MOVES
        }
    )


def batch(comparisons=False):
    """Five slots and three rows, so that no activation has the shape of a kernel."""
    tokens, positions = tiny.rows((3, 5))
    rows = {
        'tokens': tokens,
        'positions': positions,
        'segments': jnp.zeros_like(tokens),
        'completion': positions > 1,
        'ends': jnp.full((3, 1), 4),
    }
    return (
        {k: x[:, None].repeat(2, 1) for k, x in rows.items()} if comparisons else rows
    )


def update(arch, loss, delta, frozen, comparisons=False, bind=None):
    """A function of a training step and its arguments."""
    optimizer = optax.adamw(1e-3)
    loss = functools.partial(loss, arch=arch)
    if bind:
        inner = loss
        loss = lambda trainable, base, *rest: inner(bind(base, trainable), {}, *rest)  # noqa: E731
    run = functools.partial(step, loss=loss, optimizer=optimizer)
    state = jax.eval_shape(lambda delta: init(delta, optimizer), delta)
    return run, state, frozen, batch(comparisons)


kinds = [tiny.LORA, LoraTuning(5, dropout=0.5)]
every_way = [
    pytest.mark.parametrize('scan', [False, True]),
    pytest.mark.parametrize('remat', [False, True]),
]


def in_every_way(test):
    return functools.reduce(lambda t, mark: mark(t), every_way, test)


@in_every_way
@pytest.mark.parametrize('kind', kinds, ids=['everywhere', 'attention, dropout'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('tied', [False, True])
def test_no_merged_kernel_and_no_gradient_of_one(scan, remat, kind, dtype, tied):
    arch = tiny.arch(scan=scan, remat=remat, dtype=dtype, tied=tied)
    base = weights.abstract(architecture.parameters(arch), dtype)
    delta = tiny_delta(arch, kind)
    assert weight_shaped(*update(arch, language.loss, delta, base), arch=arch) == []


@in_every_way
def test_nor_in_a_reward_model(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat)
    base = weights.abstract(architecture.parameters(arch))
    delta = {**tiny_delta(arch), 'head': tiny.head()}
    run = update(arch, reward.bradley_terry, delta, base, comparisons=True)
    assert weight_shaped(*run, arch=arch) == []


@in_every_way
def test_merging_is_caught(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat)
    base = weights.abstract(architecture.parameters(arch))
    run = update(arch, language.loss, tiny_delta(arch), base, bind=tree.merge)
    found = weight_shaped(*run, arch=arch)
    for kernel in ('(2, 16, 4, 4)', '(2, 4, 4, 16)', '(2, 16, 24)', '(32, 16)'):
        assert f'add {kernel}' in found
        assert f'mul {kernel}' in found


@in_every_way
def test_a_gradient_of_the_base_is_caught(scan, remat):
    arch = tiny.arch(scan=scan, remat=remat)
    full = weights.abstract(architecture.parameters(arch))
    found = weight_shaped(*full_gradient(arch, full), arch=arch)
    for kernel in ('(16, 24)', '(24, 16)', '(16, 16)', '(16, 8)', '(16, 32)'):
        turned = '(' + ', '.join(kernel[1:-1].split(', ')[::-1]) + ')'
        assert {f'dot_general {kernel}', f'dot_general {turned}'} & set(found)


def full_gradient(arch, params):
    loss = functools.partial(language.loss, arch=arch)
    grad = jax.grad(loss, has_aux=True)
    return lambda params: grad(params, {}, batch(), jax.random.key(0)), params


def tiny_delta(arch, kind=tiny.LORA):
    leaves = architecture.parameters(arch)
    return jax.eval_shape(lambda: kind.init(jax.random.key(0), None, leaves))


def test_training_an_adapter_leaves_the_base_as_it_was():
    base, delta = tiny.weights(), tiny.adapter()
    before = jax.tree.map(np.array, base)
    optimizer = optax.adamw(1e-3)
    loss = functools.partial(language.loss, arch=tiny.ARCH)
    run = functools.partial(step, loss=loss, optimizer=optimizer)
    state = jax.jit(run, donate_argnums=0)(init(delta, optimizer), base, batch())[0]
    tiny.close(base, before, 0)
    assert all(np.any(x) for x in jax.tree.leaves(state['opt'][0].mu))
