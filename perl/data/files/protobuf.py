"""Reads protocol buffers without generated classes, by field numbers."""

from collections.abc import Iterator

Value = int | memoryview
NOTHING = memoryview(b'')


class Damaged(ValueError):
    """The bytes are not a protocol buffer, or not the expected one."""


def fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field: a varint as an integer, all else as bytes.

    Raises:
        Damaged: a field ends after its message, or its wire type is unknown.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(content, at)
        else:
            size, at = _size(content, at, kind)
            value, at = content[at : at + size], at + size
            if at > len(content):
                raise Damaged('a field ends after its message')
        yield tag >> 3, value


def repeated(content: Value, number: int) -> list[Value]:
    """The values of one field of a message, in order."""
    return [value for field, value in fields(message(content)) if field == number]


def message(value: Value) -> memoryview:
    """The bytes of a field that is a message or a string."""
    if isinstance(value, int):
        raise Damaged('a number where bytes should be')
    return value


def text(value: Value) -> str:
    """A string field."""
    try:
        return bytes(message(value)).decode('utf-8')
    except UnicodeDecodeError as error:
        raise Damaged(f'no text: {error.reason}') from error


def integer(value: Value) -> int:
    """A signed field; a negative number is a varint of ten bytes."""
    if not isinstance(value, int):
        raise Damaged('bytes where a number should be')
    return value - (1 << 64) if value >> 63 else value


def integers(value: Value) -> list[int]:
    """A value of a repeated signed field: one number, or many packed."""
    if isinstance(value, int):
        return [integer(value)]
    at, values = 0, []
    while at < len(value):
        number, at = _varint(value, at)
        values.append(integer(number))
    return values


def _size(content: memoryview, at: int, kind: int) -> tuple[int, int]:
    """The size of a field in bytes, and the index where it begins."""
    if kind == 2:
        return _varint(content, at)
    if kind not in (1, 5):
        raise Damaged(f'wire type {kind}')
    return (8 if kind == 1 else 4), at


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 70:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise Damaged('a number that does not end')
