"""The words about memory."""

import dataclasses

from perl.report.needs_table import needs_table, verdict
from perl.stages.needs import Need
from perl.system.targets import Target

LORA = Need('reward', 'step', 2**30, 2**20, 2**21, 0, 2**29, 2**30 + 2**29)
FULL = dataclasses.replace(LORA, frozen=0, total=3 * 2**30)
ROWS = [('lora', LORA), ('full', FULL)]


def test_shares_of_a_device_and_of_full_tuning():
    table = needs_table(ROWS, 2 * 2**30)
    lora, full = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert lora['total'] == '1.50 GiB' and lora['cache'] == ''
    assert lora['of the memory'] == '75%' and lora['of full'] == '50%'
    assert full['of the memory'] == '150%' and full['of full'] == ''


def test_what_fits():
    lines = verdict(ROWS, Target('h100', [], 2 * 2**30)).splitlines()
    most = 'the most is reward, step: '
    have = ', and a device of h100 has 2.00 GiB'
    assert lines == [
        f'lora: all fits; {most}1.50 GiB{have}',
        f'full: it does not fit; {most}3.00 GiB{have}',
    ]


def test_memory_that_is_not_known():
    assert verdict([('', LORA)], Target('cpu', [], None)) == (
        'the most is reward, step: 1.50 GiB'
    )
    table = needs_table([('', LORA)], None)
    assert 'of the memory' not in table.markdown()
