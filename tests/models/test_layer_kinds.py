"""What differs between layers, as values and as arrays of a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from perl.models.layer_kinds import Kind, choose, kind_of, kinds


def test_a_pattern_repeats_over_the_layers():
    arch = tiny.arch(layers=5, windows=(3, 0), unrotated=(False, False, True))
    each = [kind_of(arch, i) for i in range(5)]
    assert [kind.window for kind in each] == [3, None, 3, None, 3]
    assert [kind.local for kind in each] == [True, False, True, False, True]
    assert [kind.unrotated for kind in each] == [False, False, True, False, False]
    all_of = kinds(arch)
    np.testing.assert_array_equal(all_of.local, [kind.local for kind in each])
    np.testing.assert_array_equal(all_of.unrotated, [kind.unrotated for kind in each])
    assert (all_of.window[::2] == 3).all() and (all_of.window[1::2] >= 2**30).all()


def test_layers_alike_have_no_kind():
    assert kinds(tiny.ARCH) == kind_of(tiny.ARCH, 1) == Kind()


def test_a_choice_by_a_value_and_by_an_array():
    trees = {'x': jnp.ones(2)}, {'x': jnp.zeros(2)}
    assert choose(True, *trees) is trees[0]
    assert choose(None, *trees) is choose(False, *trees) is trees[1]
    for flag in (True, False):
        got = jax.jit(choose)(jnp.array(flag), *trees)
        np.testing.assert_array_equal(got['x'], choose(flag, *trees)['x'])
