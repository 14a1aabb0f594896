"""Which implementation a program gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh
from seen import draw

from perl import sharding
from perl.models import attention
from perl.models.attention import table
from perl.models.attention.kernel import Target
from perl.models.field_types import CHOICES
from perl.system.errors import UserError

H100 = AbstractDevice('NVIDIA H100 80GB HBM3', None, 'gpu')
V5E = AbstractDevice('TPU v5 lite', 1, 'tpu')


def on(device):
    """A context in which programs are traced for one such device."""
    mesh = AbstractMesh((1, 1, 1), sharding.AXES, abstract_device=device)
    return jax.sharding.use_abstract_mesh(mesh)


def queries(dtype=jnp.bfloat16, width=64):
    return jax.ShapeDtypeStruct((2, 16, 4, width), dtype)


def test_the_setting_has_the_names_of_the_table():
    assert set(CHOICES['attention']) == {'auto', 'plain', *table.FUSED}


def test_the_target_is_that_of_the_mesh():
    assert table.target() == Target('cpu', 'cpu')
    with on(V5E):
        assert table.target() == Target('tpu', 'TPU v5 lite')
    with jax.set_mesh(sharding.make_mesh()):
        assert table.target() == Target('cpu', 'cpu')


def test_auto_is_what_suits_the_platform(capsys):
    assert table.choose('auto', queries(), None) is None
    with on(H100):
        assert table.choose('auto', queries(), None) is table.FUSED['cudnn']
        assert table.choose('plain', queries(), None) is None
    with on(V5E):
        assert table.choose('auto', queries(), 50.0) is table.FUSED['splash']
    assert capsys.readouterr().err == ''


def test_a_fall_back_is_said_once(capsys):
    table._say.cache_clear()
    with on(H100):
        for _ in range(2):
            assert table.choose('auto', queries(jnp.float32), None) is None
            assert table.choose('auto', queries(), 30.0) is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert 'plain instead of cudnn' in lines[0] and 'float32' in lines[0]
    assert 'soft cap' in lines[1]


def test_a_name_that_cannot_be_used_is_an_error():
    with pytest.raises(UserError, match=r'model.attention: cudnn .* NVIDIA'):
        table.choose('cudnn', queries(), None)
    with pytest.raises(UserError, match=r'model.attention: splash .* TPU'):
        attention.causal(*draw(), implementation='splash')
    with on(H100), pytest.raises(UserError, match=r'not in float32; set model'):
        table.choose('cudnn', queries(jnp.float32), None)


def test_few_queries_are_always_plain():
    q, k, v = draw()
    read = jnp.asarray([[9, 0], [3, 8]])
    few = jnp.stack([q[b, read[b]] for b in range(2)])
    got = attention.causal(few, k, v, None, read, implementation='splash')
    want = attention.causal(q, k, v)
    want = np.stack([want[b, read[b]] for b in range(2)])
    np.testing.assert_allclose(got, want, atol=2e-6)
