import pytest

from perl.system.sizes import readable


@pytest.mark.parametrize(
    ('size', 'text'),
    [
        (0, '0 bytes'),
        (1023, '1,023 bytes'),
        (1024, '1.0 KiB'),
        (2**20 - 1, '1.0 MiB'),
        (53.24 * 2**20, '53.2 MiB'),
        (1023.9 * 2**20, '1,023.9 MiB'),
        (1.5 * 2**30, '1.50 GiB'),
        (2.25 * 2**40, '2.25 TiB'),
        (2**50, '1,024.00 TiB'),
    ],
)
def test_the_unit_fits(size, text):
    assert readable(size) == text
