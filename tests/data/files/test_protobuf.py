"""Protocol buffers: every field comes back, damage is said."""

import pytest
import released
from hypothesis import given
from hypothesis import strategies as st

from perl.data.files import protobuf

NUMBERS = st.integers(-(2**63), 2**63 - 1)
FIELDS = st.lists(st.tuples(st.integers(1, 2**20), NUMBERS | st.binary(max_size=300)))


def view(content):
    return memoryview(content)


@given(FIELDS)
def test_fields_come_back(rows):
    content = b''.join(released.field(*row) for row in rows)
    found = [
        (number, protobuf.integer(x) if isinstance(x, int) else bytes(x))
        for number, x in protobuf.fields(view(content))
    ]
    assert found == rows


@given(st.lists(NUMBERS))
def test_packed_numbers(numbers):
    packed = view(b''.join(map(released.varint, numbers)))
    assert protobuf.integers(packed) == numbers


def test_worked_bytes():
    """The examples of protobuf.dev/programming-guides/encoding."""
    assert list(protobuf.fields(view(b'\x08\x96\x01'))) == [(1, 150)]
    ((number, value),) = protobuf.fields(view(b'\x12\x07testing'))
    assert number == 2 and protobuf.text(value) == 'testing'
    packed = protobuf.repeated(view(b'\x32\x06\x03\x8e\x02\x9e\xa7\x05'), 6)
    assert protobuf.integers(packed[0]) == [3, 270, 86942]
    minus_two = view(b'\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01')
    assert protobuf.integer(protobuf.repeated(minus_two, 1)[0]) == -2


def test_fixed_widths_are_bytes():
    content = b'\x0d\x00\x00\x80\x3f' + b'\x11' + b'\x07' * 8
    assert [len(x) for _, x in protobuf.fields(view(content))] == [4, 8]


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'\x12\x07test', 'ends after its message'),
        (b'\x0d\x00', 'ends after its message'),
        (b'\x08', 'does not end'),
        (b'\x08' + b'\xff' * 11, 'does not end'),
        (b'\x0b', 'wire type 3'),
    ],
)
def test_damage(content, said):
    with pytest.raises(protobuf.Damaged, match=said):
        list(protobuf.fields(view(content)))


def test_values_of_another_kind():
    with pytest.raises(protobuf.Damaged, match='bytes should be'):
        protobuf.message(3)
    with pytest.raises(protobuf.Damaged, match='number should be'):
        protobuf.integer(view(b''))
    with pytest.raises(protobuf.Damaged, match='no text'):
        protobuf.text(view(b'\xff'))
