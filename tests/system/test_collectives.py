"""Collectives of compiled programs: kinds, bytes, groups, and how often they run."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from perl import sharding
from perl.system.collectives import collectives

CUBE = {'data': 2, 'fsdp': 2, 'tensor': 2}
ROW = {'data': 1, 'fsdp': 4, 'tensor': 1}
# what the compiler for TPUs writes: one gather in three operations that overlap it, in
# a loop whose length stands in its condition
OVERLAPPED = """HloModule jit_f, is_scheduled=true

%fused.1 (p: bf16[8,16]) -> bf16[8,64] {
  %g.1 = bf16[8,64]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, GROUPS, SOURCE
}

%async_collective_fusion.2 (p: bf16[8,16]) -> bf16[8,64] {
  %g.2 = bf16[8,64]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), channel_id=7, GROUPS
}

%all-reduce-scatter.3 (p: bf16[64,192]) -> bf16[16,192] {
  %r = bf16[64,192]{1,0} all-reduce(%p), channel_id=1, ALL
}

%body (t: (s32[], bf16[8,16])) -> (s32[], bf16[8,16]) {
  %start = bf16[8,64] fusion(%t), kind=kCustom, calls=%fused.1
  %middle = bf16[8,64] fusion(%t), kind=kOutput, calls=%async_collective_fusion.2
  %parts = bf16[16,192] fusion(%t), kind=kCustom, calls=%all-reduce-scatter.3
}

%condition (t: (s32[], bf16[8,16])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (p: bf16[8,16]) -> bf16[8,64] {
  %loop = (s32[], bf16[8,16]) while(%t), condition=%condition, body=%body
  %again = bf16[8,64] fusion(%t), kind=kCustom, calls=%fused.1
}
"""
for short, long in {
    'GROUPS': "replica_groups=mesh['a'=4,'b'=1] {'a'}, dimensions={1}",
    'SOURCE': 'metadata={op_name="jit(f)/dot" stack_frame_id=5}',
    'ALL': 'replica_groups={{0,1,2,3}}, use_global_device_ids=true, to_apply=%add',
}.items():
    OVERLAPPED = OVERLAPPED.replace(short, long)


def one(line, mesh=CUBE):
    """The collective of a program of one line."""
    (found,) = collectives(f'ENTRY %main (p: f32[]) -> f32[] {{\n  {line}\n}}', mesh)
    return found


def test_what_overlaps_a_collective_repeats_no_bytes():
    loop, parts, after = collectives(OVERLAPPED, ROW)
    assert (loop.kind, loop.size, loop.times) == ('all-gather', 8 * 64 * 2, 3)
    assert (loop.axes, loop.devices, loop.source) == (('fsdp',), 4, 'jit(f)/dot')
    assert loop.sent == 3 * 8 * 64 * 2 * 3 // 4
    assert (after.kind, after.times) == ('all-gather', 1)
    assert (parts.kind, parts.size) == ('reduce-scatter', 64 * 192 * 2)
    assert parts.sent == 3 * 64 * 192 * 2 * 3 // 4


GPU = 'replica_groups=[2,4]<=[8]'  # as XLA writes asynchronous ones for GPUs


@pytest.mark.parametrize(
    ('line', 'kind', 'size'),
    [
        ('(f32[], bf16[8,2]) all-reduce(%a, %b)', 'all-reduce', 4 + 32),
        ('f32[8,2] all-reduce-start(%a)', 'all-reduce', 64),
        ('(bf16[2,4], bf16[8,4]) all-gather-start(%a)', 'all-gather', 64),
        (
            '((bf16[2], f32[2,3]{1,0}), (bf16[8], f32[8,3]{1,0})) all-gather-start(%a)',
            *('all-gather', 16 + 96),
        ),
        ('f32[2,3]{1,0} reduce-scatter(%a)', 'reduce-scatter', 4 * 24),
        ('(f32[8,3]) all-to-all(%a)', 'all-to-all', 96),
        ('pred[5] all-gather(%a)', 'all-gather', 5),
        ('s4[6] all-gather(%a)', 'all-gather', 3),
        ('f8e4m3fn[6] all-gather(%a)', 'all-gather', 6),
    ],
)
def test_bytes_of_a_kind(line, kind, size):
    mesh = {'data': 2, 'fsdp': 4}
    found = one(f'%x = {line}, channel_id=1, {GPU}, dimensions={{0}}', mesh)
    assert (found.kind, found.size, found.axes) == (kind, size, ('fsdp',))


def test_a_permutation_sends_what_it_holds():
    pairs = 'source_target_pairs={{0,1},{1,0},{2,3},{3,2},{4,4}}'
    kind = 'collective-permute-start(%a), channel_id=1'
    found = one(f'%x = (bf16[8], bf16[8], u32[]) {kind}, {pairs}, metadata={{}}')
    assert (found.kind, found.axes) == ('collective-permute', ('tensor',))
    assert found.size == found.sent == 16


def test_an_empty_text_has_none():
    assert collectives('', CUBE) == []


def compiled(function, mesh, **shapes):
    """The text of a program of arrays `[...]`, each with its partition."""
    arrays = {
        name: jax.ShapeDtypeStruct(shape, 'float32', sharding=NamedSharding(mesh, part))
        for name, (shape, part) in shapes.items()
    }
    with jax.set_mesh(mesh):
        return jax.jit(function).lower(**arrays).compile().as_text()


def layers(x, w):
    """A product with each of the layers."""

    def layer(x, w):
        return jax.lax.with_sharding_constraint(x @ w, P('fsdp', None)), None

    return jax.lax.scan(layer, x, w)[0]


def test_a_loop_over_layers_gathers_each():
    mesh = sharding.make_mesh(fsdp=8)
    rows = ((8, 16), P('fsdp', None))
    text = compiled(layers, mesh, x=rows, w=((5, 16, 16), P(None, 'fsdp', None)))
    (gather,) = collectives(text, mesh.shape)
    assert (gather.kind, gather.axes, gather.times) == ('all-gather', ('fsdp',), 5)
    assert gather.size == 16 * 16 * 4 and not gather.repeats


def test_a_loop_whose_length_the_data_decide():
    mesh = sharding.make_mesh(fsdp=8)

    def play(x, w):
        return jax.lax.while_loop(
            lambda x: jnp.any(x[:, 0] < 9), functools.partial(layers, w=w), x
        )

    rows = ((8, 16), P('fsdp', None))
    text = compiled(play, mesh, x=rows, w=((5, 16, 16), P(None, 'fsdp', None)))
    gathers = [x for x in collectives(text, mesh.shape) if x.kind == 'all-gather']
    assert [(x.times, x.repeats) for x in gathers] == [(5, True)]
