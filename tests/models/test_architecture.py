"""The declaration of a decoder's parameters."""

import jax
import jax.numpy as jnp
import pytest
import tiny

from perl import sharding, weights
from perl.models import architecture
from perl.system.errors import UserError


@pytest.mark.parametrize('tied', [False, True])
def test_parameters_are_made_as_they_are_declared(tied):
    arch = tiny.arch(tied=tied)
    said = weights.flatten(architecture.parameters(arch))
    made = weights.flatten(architecture.init(jax.random.key(0), arch, 'bfloat16'))
    paper = weights.flatten(weights.abstract(architecture.parameters(arch)))
    assert made.keys() == said.keys() == paper.keys()
    assert ('unembed' in made) is not tied
    for path, leaf in said.items():
        assert made[path].shape == leaf.shape == paper[path].shape
        assert made[path].dtype == jnp.bfloat16
        assert len(leaf.axes) == len(leaf.shape)
        assert set(leaf.axes) <= sharding.RULES.keys()
        assert (leaf.axes[0] == 'layers') == path.startswith('layers')


def test_kernels_keep_the_variance_of_their_inputs():
    arch = tiny.arch(width=64, hidden=128, layers=8)
    made = weights.flatten(architecture.init(jax.random.key(0), arch))
    for path, inputs in (('mlp/up', 64), ('attention/q', 64), ('mlp/down', 128),
                         ('attention/o', 16)):  # fmt: skip
        into_stream = path[-1] == 'o' or path.endswith('down')
        std = (inputs * (2 * arch.layers if into_stream else 1)) ** -0.5
        assert made[f'layers/{path}'].std() == pytest.approx(std, rel=0.05), path
    assert jnp.all(made['layers/mlp/norm'] == 1)
    assert jnp.any(made['layers/mlp/up'][0] != made['layers/mlp/gate'][0])


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'heads': 4, 'kv_heads': 3}, r'heads=4 is not a multiple of kv_heads=3'),
        ({'head_width': 5}, r'head_width=5 must be an even number'),
        ({'rope_layout': 'circles'}, r'model\.rope_layout: .circles. is not one of'),
        ({'dtype': 'int8'}, r'model\.dtype: .int8. is not one of float32'),
    ],
)
def test_a_decoder_that_cannot_be(changes, says):
    with pytest.raises(UserError, match=says):
        tiny.arch(**changes)
