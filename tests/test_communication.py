"""What the devices of a mesh send each other, held to formulas.

Bytes are those of the whole arrays, as `perl.system.collectives` counts them; every
array here is float32.
"""

import functools
import math

import jax
import pytest
import tiny

from perl import config as configs
from perl import sharding
from perl.adapters import tree
from perl.adapters.tunings import LoraTuning
from perl.models import architecture, decoder
from perl.stages.table import STAGES
from perl.system.collectives import collectives
from perl.weights import LAYERS, is_leaf

SIZES = {'layers': 3, 'width': 32, 'hidden': 48, 'heads': 8, 'kv_heads': 8}
ARCH = tiny.arch(scan=True, remat=True, attention='plain', **SIZES)
LEAVES = architecture.parameters(ARCH)
ROWS, TOKENS, RANK = 16, 16, 2  # 8 comparisons, or 16 prompts
SMALL = 1024  # bytes of metrics, counts and norms of gradients, which are scalars


def size(leaves, *axes):
    """Bytes of the declared parameters that have all of these logical axes."""
    leaves = jax.tree.leaves(leaves, is_leaf=is_leaf)
    return sum(4 * math.prod(x.shape) for x in leaves if {*axes} <= {*x.axes})


@functools.cache
def step(stage, tuning, shape):
    """The plan of a stage, and the collectives of its step on a mesh."""
    config = configs.experiment('paper')
    config.lengths.update(prompt=8, response=8)
    changes = {'batch_size': ROWS, 'steps': 3}
    changes['tuning'] = configs.tuning_config(tuning, RANK)
    config.reward.update(changes | {'batch_size': ROWS // 2})
    config.policy.update(changes)
    how, mesh = STAGES[config[stage].kind], sharding.make_mesh(*shape)
    plan = how.plan(ARCH, config, stage)
    with jax.set_mesh(mesh):
        program = plan.update().lower(*plan.abstract(mesh)).compile()
    return plan, collectives(program.as_text(), mesh.shape)


def total(found, *kinds, along=None):
    """The bytes of those of some kinds, along these axes of the mesh."""
    return sum(x.total for x in found if x.kind in kinds and along in (None, x.axes))


@pytest.mark.parametrize('tuning', ['lora', 'full'])
@pytest.mark.parametrize('shape', [(1, 8, 1), (2, 4, 1), (2, 2, 2)], ids=str)
def test_each_layer_is_gathered_once_forward_and_once_backward(shape, tuning):
    """And the factors with it, and the embedding once: nothing else is gathered."""
    plan, found = step('reward', tuning, shape)
    factors = plan.trainable if tuning == 'lora' else {}
    twice = size(LEAVES[LAYERS], 'embed')
    # of a kernel that is cut over `tensor`, a device gathers its own part
    own = twice // shape[2] + size(LEAVES['embed']) // shape[2] / 2
    for names in (('heads',), ('kv_heads',)):
        own += size(factors, 'embed', *names) // shape[2]
    own += size(factors, 'embed', 'rank')
    assert total(found, 'all-gather', along=('fsdp',)) == 2 * own
    assert total(found, 'all-gather') == 2 * own


@pytest.mark.parametrize('stage', ['reward', 'policy'])
@pytest.mark.parametrize('shape', [(8, 1, 1), (1, 8, 1), (2, 4, 1)], ids=str)
def test_no_gradient_of_the_base_is_reduced(shape, stage):
    """Adapters and heads have gradients, and no other array is summed over devices. A
    factor that is cut over `fsdp` may be summed along it first, and then its part."""
    plan, found = step(stage, 'lora', shape)
    reduced = total(found, 'all-reduce', 'reduce-scatter')
    trained = size(plan.trainable)
    parts = size(plan.trainable, 'embed') // shape[1] if min(shape[:2]) > 1 else 0
    assert trained <= reduced <= trained + parts + SMALL < size(LEAVES) / 4
    if shape[1] == 1:
        assert total(found, 'all-gather') == 0
    assert total(found, 'all-to-all', 'collective-permute') == 0


def test_full_tuning_reduces_every_gradient():
    """So the count of the test before would see a gradient of the base."""
    plan, found = step('reward', 'full', (8, 1, 1))
    trained = size(plan.trainable) - size(LEAVES['unembed'])  # which no reward reads
    assert trained <= total(found, 'all-reduce') <= trained + SMALL


@pytest.mark.parametrize('devices', [2, 4, 8])
def test_tensor_parallel_products_reduce_activations(devices):
    """A pass forward on a batch of B tokens, width h, rank r, N devices (S-LoRA, arXiv
    2311.03285, section 6, for attention; a device sends 2 (N - 1) / N of what is
    reduced, (N - 1) / N of what is gathered).

    The base sends 2 (N - 1) B h / N for the output of attention, and as much for the
    MLP. S-LoRA sends 5 (N - 1) B r / N for the adapters of q, k, v and o: it divides
    the rank of `A` over the devices and gathers `x A` of q, k and v, and reduces that
    of o. Here every device computes the whole `x A` of q, k and v, which saves the
    three gathers and leaves 2 (N - 1) B r / N.
    """
    mesh = sharding.make_mesh(tensor=devices)
    said = LoraTuning(rank=RANK).declare(LEAVES)
    place = functools.partial(shapes, mesh=mesh)
    tokens = sharding.on_paper(jax.ShapeDtypeStruct((ROWS, TOKENS), 'int32'), mesh)

    def forward(base, delta, tokens):
        return decoder.hidden(ARCH, tree.bind(base, delta), tokens, tokens)

    with jax.set_mesh(mesh):
        program = jax.jit(forward).lower(place(LEAVES), place(said), tokens).compile()
    found = collectives(program.as_text(), mesh.shape)
    share, batch = (devices - 1) / devices, ROWS * TOKENS
    base = 2 * 2 * share * batch * ARCH.width  # attention and MLP
    lora = 2 * share * batch * RANK
    lookup = 2 * share * batch * ARCH.width  # of rows of a divided embedding
    assert {(x.kind, x.axes) for x in found} == {('all-reduce', ('tensor',))}
    assert sum(x.sent for x in found) == 4 * (ARCH.layers * (base + lora) + lookup)


def shapes(leaves, mesh):
    """Declared parameters as shapes on a mesh."""
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, 'float32', sharding=place),
        leaves,
        sharding.shardings(leaves, mesh),
        is_leaf=is_leaf,
    )
