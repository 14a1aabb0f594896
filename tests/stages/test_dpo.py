"""The figures on held-out comparisons are those that training reports."""

import functools

import numpy as np
import pytest
import tiny

from perl import config as configs
from perl import sharding
from perl.adapters.network import Network
from perl.data import by_example, examples
from perl.data.records import Comparison
from perl.data.tokenizers.vocabularies import Bytes
from perl.losses.direct import DIRECT
from perl.runs.roles import Role
from perl.stages import direct, dpo
from perl.stages.frozen import Frozen

ARCH = tiny.arch(vocabulary=300)
BASE, POLICY, REFERENCE = (
    tiny.weights(ARCH),
    tiny.adapter(ARCH),
    tiny.adapter(ARCH, seed=4),
)
PAIRS = [
    Comparison('a long prompt', ('cd', 'efg'), preference=0.9),
    Comparison('another', ('i', 'jk')),
    Comparison('a third', ('l', 'mnopq'), preference=0.2),
]


@pytest.mark.parametrize('name', DIRECT)
def test_held_out_figures_are_those_of_a_step(name):
    """Of three comparisons in batches of two, the last of which is filled up."""
    section = configs.dpo_config(
        1e-3, loss=name, beta=0.2, nll_coefficient=0.5, batch_size=2
    )
    data, _ = examples.encode(PAIRS, Bytes(), 16, 8)
    referenced = DIRECT[name].referenced
    frozen = Frozen(BASE, reference=Network(BASE, REFERENCE) if referenced else None)
    batches = functools.partial(by_example.comparisons, 'never', multiple=8)
    mesh = sharding.make_mesh(data=1)
    validate = dpo._held_out(ARCH, mesh, section, frozen, data, batches)
    found = validate(Role(BASE, '', POLICY, None))
    numbers = direct.Numbers.of(section)
    total, (count, sums) = direct.loss(
        POLICY, frozen, batches(data, [0, 1, 2]), None, arch=ARCH, numbers=numbers
    )
    np.testing.assert_allclose(found['val_loss'], total / count, rtol=1e-4)
    right, decided = sums['accuracy']
    np.testing.assert_allclose(found['val_accuracy'], right / decided, rtol=1e-5)
