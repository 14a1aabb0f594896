"""Which kernels are trained, from what, and how it is said."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from perl import weights
from perl.adapters.tunings import Full, LoraTuning, create
from perl.adapters.tunings.base import parameter_count
from perl.adapters.tunings.dora import DoraTuning
from perl.adapters.tunings.lora import factors
from perl.adapters.tunings.pissa import PissaTuning
from perl.adapters.tunings.qalora import QaLora
from perl.adapters.tunings.qlora import QLora
from perl.models import architecture
from perl.system.errors import UserError

LEAVES = architecture.parameters(tiny.ARCH)


def ranks(*targets, rank=8):
    chosen = LoraTuning(rank, targets=targets).chosen(LEAVES)
    return {path.split('/')[-1]: r for path, (_, r) in chosen.items()}


def test_the_scale_of_lora_and_of_rslora():
    assert LoraTuning(4, 8.0).scale(4) == 2.0
    assert LoraTuning(4, 8.0, rank_stabilised=True).scale(4) == 4.0
    kind = LoraTuning(4, 8.0, True, targets=('.*q:16', '.*k'))
    layer = kind.init(jax.random.key(0), None, LEAVES)['layers']['attention']
    assert (layer['q'].scale, layer['k'].scale) == (2.0, 4.0)


def test_the_default_is_every_attention_projection():
    assert ranks(*LoraTuning().targets) == dict.fromkeys('qkvo', 8)


def test_the_first_rule_that_matches_wins():
    assert ranks('.*/(q|k):2', '.*/(k|v):4', '.*/o') == {'q': 2, 'k': 2, 'v': 4, 'o': 8}
    assert ranks('.*/(k|v):4', '.*/(q|k):2') == {'k': 4, 'v': 4, 'q': 2}


def test_presets_match_kernels_alone():
    linear = dict.fromkeys(('q', 'k', 'v', 'o', 'gate', 'up', 'down'), 8)
    assert ranks('attention') == dict.fromkeys('qkvo', 8)
    assert ranks('all-linear') == linear
    assert ranks('attention:2', 'all-linear:4') == linear | {
        **dict.fromkeys('qkvo', 2),
        **dict.fromkeys(('gate', 'up', 'down'), 4),
    }


def test_empty_targets_are_the_tuning_s_own():
    for name, own in (('lora', ('attention',)), ('qlora', ('all-linear',))):
        assert create({'name': name, 'targets': ()}).targets == own


def test_the_rate_of_b():
    lora = LoraTuning(b_rate=16.0).declare(LEAVES)['layers']['attention']['q']
    assert (lora.a.rate, lora.b.rate) == (1.0, 16.0)
    assert LoraTuning(b_rate=16.0).alike(LoraTuning(dropout=0.1))
    assert not LoraTuning(rank=4).alike(LoraTuning())


def test_which_kinds_go_on_from_each_other():
    rules = {'targets': ('all-linear',)}
    assert QLora().alike(LoraTuning(**rules)) and not QLora().alike(LoraTuning())
    assert not DoraTuning(**rules).alike(LoraTuning(**rules))
    assert not QaLora().alike(QLora())


def test_a_rank_above_the_singular_vectors():
    with pytest.raises(UserError, match='17 is more than the 16 singular vectors'):
        PissaTuning(17, targets=('.*/q',)).declare(LEAVES)


def test_rank_0_leaves_a_kernel_alone():
    assert ranks('.*/v:0', 'layers/attention/(?!norm).*') == {'q': 8, 'k': 8, 'o': 8}
    assert ranks('.*norm:0', 'layers/attention/.*') == dict.fromkeys('qkvo', 8)


@pytest.mark.parametrize(
    'targets, says',
    [
        (('layers/attention/w',), "'layers/attention/w' matches nothing; the kernels"),
        (('attention/q',), 'layers/attention/q'),  # the whole path, or nothing
        (('layers/(',), "'layers/(' is not a regular expression (missing"),
        ((), 'no kernel is chosen'),
        (('layers/.*/(q|k|v|o|gate|up|down):0',), 'no kernel is chosen'),
        (('.*q', '.*q:2'), 'matches nothing'),  # never reached
        (('layers/attention/.*',), 'layers/attention/norm, which is not a kernel'),
        (('norm',), 'not a kernel'),
    ],
)
def test_a_rule_that_cannot_be_meant_is_an_error(targets, says):
    with pytest.raises(UserError, match=r'tuning\.targets') as error:
        ranks(*targets)
    assert says in str(error.value)


@pytest.mark.parametrize('targets', [tiny.EVERYWHERE, ('.*/o:5', '.*/down')])
def test_factors_have_the_shapes_that_are_declared(targets):
    kind = LoraTuning(3, targets=targets)
    made = weights.flatten(
        jax.eval_shape(lambda: kind.init(jax.random.key(0), None, LEAVES))
    )
    said = weights.flatten(kind.declare(LEAVES))
    assert made.keys() == said.keys()
    for path in made:
        assert made[path].a.shape == said[path].a.shape, path
        assert made[path].b.shape == said[path].b.shape, path
        assert len(said[path].a.axes) == made[path].a.ndim
        assert (made[path].scale, made[path].dropout) == (
            said[path].scale,
            said[path].dropout,
        )


def test_factors_of_a_kernel_with_two_inputs():
    a, b = factors(LEAVES['layers']['attention']['o'], 3)
    assert (a.shape, b.shape) == ((2, 4, 4, 3), (2, 3, 16))
    assert a.axes == ('layers', 'heads', 'head', 'rank')
    assert b.axes == ('layers', 'rank', 'embed')
    a, b = factors(LEAVES['embed'], 3)
    assert (a.shape, b.shape) == ((32, 3), (3, 16))


@pytest.mark.parametrize('name, inputs', [('q', 64), ('o', 256), ('down', 128)])
def test_fresh_factors_have_the_documented_variance(name, inputs):
    arch = tiny.arch(width=64, heads=16, kv_heads=16, head_width=16, hidden=128)
    kind = LoraTuning(64, targets=(f'.*/{name}',))
    leaves = architecture.parameters(arch)
    (lora,) = weights.flatten(kind.init(jax.random.key(0), None, leaves)).values()
    assert abs(lora.a.var() * 3 * inputs - 1) < 0.05
    assert np.abs(lora.a).max() <= 1 / math.sqrt(inputs)
    assert not lora.b.any()
    assert lora.a.dtype == lora.b.dtype == jnp.float32


def test_fresh_factors_differ_from_kernel_to_kernel():
    layer = LoraTuning().init(jax.random.key(0), None, LEAVES)['layers']
    assert np.any(layer['attention']['k'].a != layer['attention']['v'].a)
    assert np.any(layer['attention']['q'].a[0] != layer['attention']['q'].a[1])


def test_full_tuning_starts_from_a_float32_copy():
    base = tiny.weights(dtype=jnp.bfloat16)
    delta = Full().init(jax.random.key(0), base, LEAVES)
    tiny.close(delta, base, 0)
    assert {x.dtype for x in jax.tree.leaves(delta)} == {jnp.dtype('float32')}
    base = tiny.weights()
    delta = Full().init(jax.random.key(0), base, LEAVES)
    assert (
        delta['embed'].unsafe_buffer_pointer() != base['embed'].unsafe_buffer_pointer()
    )
    assert Full().declare(LEAVES) is LEAVES


def test_the_coverage_is_counted_by_hand():
    # q, k of D=16: q adds 2 layers x (16 r + r 16), k 2 x (16 r + r 8), r = 8
    kind = LoraTuning(targets=('.*/(q|k)',))
    adapters = 2 * 8 * (16 + 16) + 2 * 8 * (16 + 8)
    attention = 2 * (16 + 16 * 16 + 2 * 16 * 8 + 16 * 16)
    total = attention + 2 * (16 + 3 * 16 * 24) + 2 * 32 * 16 + 16
    assert kind.coverage(LEAVES) == (
        f'lora r=8: 2 kinds (attention/q, attention/k), 4 matrices, '
        f'{adapters:,} of {total:,} parameters ({adapters / total:.2%})'
    )
    assert Full().coverage(LEAVES) == f'full: all {total:,} parameters'


def test_the_coverage_counts_what_is_made():
    kind = LoraTuning(targets=('embed:2', '.*/q'))
    made = jax.eval_shape(lambda: kind.init(jax.random.key(0), None, LEAVES))
    text = kind.coverage(LEAVES)
    assert f'{sum(x.size for x in jax.tree.leaves(made)):,} of' in text
    assert 'lora r=2/8: 2 kinds (embed, attention/q), 3 matrices' in text


def test_labels():
    assert Full().label == 'full'
    assert LoraTuning(4).label == 'lora r=4'


names = st.text('abc', min_size=1, max_size=2)
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3)
)


@given(st.dictionaries(names, trees, min_size=1))
def test_unflatten_is_the_inverse_of_flatten(tree):
    assert weights.unflatten(weights.flatten(tree)) == tree


def test_weights_in_full_have_no_factors_and_are_counted():
    kind = LoraTuning(3, modules_to_save=('embed', '.*/(q|norm)'))
    whole = {'embed', *(f'layers/{x}' for x in ('attention/q', 'attention/norm'))}
    assert kind.whole(LEAVES).keys() == {*whole, 'layers/mlp/norm'}
    assert kind.chosen(LEAVES).keys() == {f'layers/attention/{x}' for x in 'kvo'}
    plain = LoraTuning(3, targets=('.*/(k|v|o)',))
    more = sum(math.prod(x.shape) for x in kind.whole(LEAVES).values())
    assert parameter_count(kind.declare(LEAVES)) == more + parameter_count(
        plain.declare(LEAVES)
    )
    assert 'and in full embed, layers/attention/norm' in kind.coverage(LEAVES)
    assert 'in full' not in plain.coverage(LEAVES)


def test_weights_in_full_are_copies_that_a_step_may_donate():
    base = tiny.weights()
    kind = LoraTuning(3, modules_to_save=('embed', 'norm'))
    delta = kind.init(jax.random.key(0), base, LEAVES)
    for name in ('embed', 'norm'):
        np.testing.assert_array_equal(delta[name], base[name])
        assert delta[name] is not base[name]
    assert kind.kept(LEAVES) == []


@pytest.mark.parametrize(
    ('fields', 'says'),
    [
        (
            {'modules_to_save': ('lm_head',)},
            "'lm_head' matches nothing; the parameters",
        ),
        ({'modules_to_save': ('(',)}, r"'\(' is not a regular expression"),
        ({'modules_to_save': ('layers/.*',)}, 'no kernel is chosen'),
    ],
)
def test_weights_that_cannot_be_trained_in_full(fields, says):
    with pytest.raises(UserError, match=says):
        LoraTuning(3, **fields).declare(LEAVES)
