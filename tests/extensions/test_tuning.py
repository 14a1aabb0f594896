"""A tuning of one's own: the blocks of `docs/adding_a_tuning.md`, as they stand."""

import functools
import importlib
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pages
import pytest
import runs
import tiny
from commands import CONFIG, command

from perl.adapters import averaging, bundle, tree
from perl.models import architecture, decoder
from perl.system.errors import UserError
from perl.weights import Lora, einsum

TUNING, CONFIG_BLOCK, COMMANDS = pages.blocks('adding_a_tuning.md')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working directory of somebody who adds a tuning."""
    folder = tmp_path_factory.mktemp('mine')
    for block in (TUNING, CONFIG_BLOCK):
        (folder / block.title).write_text(block.text)
    (folder / 'quickstart.py').symlink_to(CONFIG)
    return folder


@pytest.fixture(scope='module')
def mine(folder):
    """The module of the page."""
    sys.path.insert(0, str(folder))
    yield importlib.import_module('my_tuning')
    sys.path.remove(str(folder))
    del sys.modules['my_tuning']


@pytest.fixture(scope='module')
def trained(folder):
    """The run folder, and what the two commands of the page print."""
    printed = []
    for module, *args in COMMANDS.commands:
        ended = command(module, *args, before=functools.partial(_work_in, folder))
        assert ended.code == 0, ended
        printed.append(ended.out)
    return folder / 'runs' / 'scaling', printed


def _work_in(folder):
    os.chdir(folder)
    sys.path.insert(0, str(folder))


def delta_of(mine, seed=0):
    kind = mine.Scaling(targets=('layers/attention/(q|o)', 'layers/mlp/down', 'embed'))
    fresh = kind.init(None, None, architecture.parameters(tiny.ARCH))
    rng = np.random.default_rng(seed)
    draw = lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32)  # noqa: E731
    return kind, fresh, jax.tree.map(draw, fresh)


@pytest.mark.parametrize('scan', [False, True])
def test_bound_equals_merged(mine, scan):
    arch = tiny.arch(scan=scan)
    base = tiny.weights(arch)
    _, fresh, delta = delta_of(mine)
    tokens, positions = tiny.rows()
    run = functools.partial(decoder.hidden, arch, tokens=tokens, positions=positions)
    bound = run(params=tree.bind(base, delta))
    np.testing.assert_allclose(
        bound, run(params=tree.merge(base, delta)), rtol=1e-4, atol=1e-4
    )
    plain = run(params=base)
    np.testing.assert_array_equal(run(params=tree.bind(base, fresh)), plain)
    assert np.abs(bound - plain).max() > 0.1


def test_it_nests_over_lora(mine):
    """A bound leaf may sit on a bound leaf: scaled outputs of a LoRA kernel."""
    rng = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    w, lora, s = draw(4, 6), Lora(draw(4, 2), draw(2, 6), 0.5), draw(6)
    nested = mine.Scale(s).bind(lora.bind(w))
    x = draw(2, 3, 4)
    want = x @ ((w + 0.5 * lora.a @ lora.b) * (1 + s)[None])
    got = einsum('btd,df->btf', x, nested)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(x @ nested.dense(), want, rtol=1e-4, atol=1e-5)


def test_every_stage_trains_with_it(trained):
    workdir, (checked, _) = trained
    figures = runs.results(workdir)
    for stage in ('sft', 'reward', 'policy'):
        assert figures[stage]['tuning'] == 'Scaling'
        assert f'{stage}: Scaling: ' in checked
    # of the small experiment: q and v have 2 x 8 outputs, down has 16, in one layer
    assert figures['sft']['trainable'] == 16 + 16 + 16


def test_a_bundle_comes_back(trained, mine):
    delta, card = bundle.load(trained[0] / 'policy' / 'adapter')
    assert type(card.tuning).__name__ == 'Scaling'
    leaf = delta['layers']['attention']['q']
    assert type(leaf).__name__ == 'Scale' and leaf.s.shape == (1, 2, 8)
    assert np.abs(leaf.s).max() > 0


def test_what_it_cannot_do_is_said(mine):
    _, _, delta = delta_of(mine)
    with pytest.raises(UserError, match='of kind Scale cannot serve one batch'):
        tree.stack([delta, delta])
    with pytest.raises(UserError, match='of kind Scale, which cannot be averaged'):
        averaging.combine([delta, delta], [0.5, 0.5])
