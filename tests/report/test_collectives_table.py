"""The words about what devices send each other."""

from perl.report.collectives_table import collectives_table, summary
from perl.stages.needs import Need
from perl.system.collectives import Collective


def gather(size, times, repeats=False):
    shapes, axes = ('bf16[64,8]',), ('data', 'fsdp')
    return Collective('all-gather', size, shapes, 4, axes, times, repeats, 'dot')


FOUND = gather(2**20, 3), gather(2**19, 2), gather(4096, 1000, repeats=True)
NEED = Need('policy', 'rollout', *[0] * 6, collectives=FOUND)


def test_those_of_one_kind_are_added_up():
    once, turn = summary(NEED)
    assert once == {
        'kind': 'all-gather', 'axes': 'data, fsdp', 'repeats': False,
        'operations': 2, 'runs': 5, 'bytes': 4 * 2**20, 'sent': 3 * 2**20,
    }  # fmt: skip
    assert (turn['repeats'], turn['operations'], turn['bytes']) == (True, 1, 4096000)


def test_a_turn_of_a_loop_is_said_to_be_one():
    table = collectives_table([('lora', NEED)])
    once, turn = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert once['runs'] == '5' and turn['runs'] == '1,000 a turn'
    assert once['bytes'] == '4.0 MiB' and once['sent by a device'] == '3.0 MiB'
    assert once['along'] == 'data, fsdp'
