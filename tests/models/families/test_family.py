"""Families as rows, and the biases that a row may ask for."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from perl import config as configs
from perl.models import architecture, decoder
from perl.models.families import FAMILIES, Family
from perl.system.errors import UserError

BIASED = tiny.arch(qkv_bias=True)


@pytest.mark.parametrize('scan', [False, True])
def test_biases_are_added_to_queries_keys_and_values(scan):
    """Without them nothing changes; each of them moves the states."""
    arch = dataclasses.replace(BIASED, scan=scan)
    params = tiny.weights(arch, seed=4)
    tokens, positions = tiny.rows()
    biased = decoder.hidden(arch, params, tokens, positions)
    attention = dict(params['layers']['attention'])
    silent = {k: 0 * v if 'bias' in k else v for k, v in attention.items()}
    params['layers'] = {**params['layers'], 'attention': silent}
    plain = decoder.hidden(tiny.arch(scan=scan), params, tokens, positions)
    np.testing.assert_array_equal(
        decoder.hidden(arch, params, tokens, positions), plain
    )
    assert np.abs(biased - plain).max() > 0.01
    for name in ('q_bias', 'v_bias'):  # softmax does not see a bias of all keys
        layers = {**params['layers'], 'attention': {**silent, name: attention[name]}}
        moved = decoder.hidden(arch, {**params, 'layers': layers}, tokens, positions)
        assert np.abs(moved - plain).max() > 1e-3, name


def test_fresh_biases_are_zero_and_are_not_kernels():
    params = architecture.init(jax.random.key(0), BIASED)
    leaves = architecture.parameters(BIASED)['layers']['attention']
    for name in ('q_bias', 'k_bias', 'v_bias'):
        assert not params['layers']['attention'][name].any()
        assert not leaves[name].inputs


def test_a_row_sets_fields_and_the_config_the_sizes():
    config = configs.experiment('x')
    assert configs.architecture(config, 100) == FAMILIES['llama'].architecture(
        vocabulary=100,
        **{k: v for k, v in config.model.items() if k not in ('path', 'family')},
    )
    row = Family('mine', {'qkv_bias': True, 'norm_eps': 1e-6})
    fields = dataclasses.asdict(tiny.ARCH)
    for name in row.fields:
        del fields[name]
    made = row.architecture(**fields)
    assert made == tiny.arch(qkv_bias=True, norm_eps=1e-6)


def test_a_row_with_an_unknown_field_is_named():
    with pytest.raises(UserError, match=r"sets 'qkv_biases', .*mean 'qkv_bias'"):
        Family('mine', {'qkv_biases': True}).architecture()
    sizes = configs.experiment('x').model
    sizes = {k: v for k, v in sizes.items() if k not in ('path', 'family')}
    with pytest.raises(
        UserError, match=r'choose one of activation, .* and \d+ others'
    ) as error:
        Family('mine', {'nonlinearity': 'gelu'}).architecture(**sizes)
    assert 'width' not in str(error.value), 'the config sets the sizes'
