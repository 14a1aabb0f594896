"""TFRecord files of tf.train.Example, without TensorFlow.

A file is a sequence of records, maybe gzipped. A record is the length of the payload (8
bytes, little-endian), the masked CRC-32C of the length (4), the payload, and its CRC
(4).
"""

import pathlib
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO

from perl.data.files import packed, protobuf
from perl.data.files.protobuf import NOTHING, Damaged
from perl.system.errors import UserError

Feature = list[bytes] | list[float] | list[int]

_CHUNK = 2**24  # bytes; a payload is read in chunks, since its length may be wrong


def read(
    path: pathlib.Path, names: Collection[str], source: str
) -> Iterator[dict[str, Feature]]:
    """The features of every Example in a file.

    Args:
        path: the file.
        names: names of the features to read. An absent feature is not in the result.
        source: the address of the file for a new download.

    Raises:
        UserError: the file is damaged, or is not a TFRecord file; the message names the
            record. The checksum of a length is checked, that of a payload is not.
    """
    number = 1
    try:
        with packed.open_binary(path) as file:
            while header := file.read(12):
                yield _example(memoryview(_payload(file, header)), names)
                number += 1
    except (Damaged, OSError, EOFError, struct.error, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f'{path} cannot be read: {error.strerror}') from error
        raise UserError(
            f'{path}, record {number}: damaged, or not a tf.train.Example '
            f'({error}); get the file again from {source}'
        ) from error


def _payload(file: BinaryIO, header: bytes) -> bytearray:
    if len(header) < 12 or _masked_crc(header[:8]) != header[8:]:
        raise Damaged('its length does not match its checksum')
    (size,) = struct.unpack('<Q', header[:8])
    payload = bytearray()
    while len(payload) < size:
        part = file.read(min(_CHUNK, size - len(payload)))
        if not part:
            raise Damaged(f'it ends too early, after {len(payload)} of {size} bytes')
        payload += part
    if len(file.read(4)) < 4:
        raise Damaged('it ends too early')
    return payload


def _masked_crc(content: bytes) -> bytes:
    """CRC-32C (Castagnoli), rotated and shifted as in TFRecord."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
    return struct.pack('<I', masked)


def _example(payload: memoryview, names: Collection[str]) -> dict[str, Feature]:
    """An Example: features (1) with feature (1), a map from name (1) to values (2)."""
    example = {}
    for features in protobuf.repeated(payload, 1):
        for entry in protobuf.repeated(features, 1):
            parts = dict(protobuf.fields(protobuf.message(entry)))
            name = protobuf.text(parts.get(1, NOTHING))
            if name in names:
                example[name] = _feature(protobuf.message(parts.get(2, NOTHING)))
    return example


def _feature(feature: memoryview) -> Feature:
    """The values of a bytes_list (1), float_list (2) or int64_list (3)."""
    values = []
    for kind, content in protobuf.fields(feature):
        for value in protobuf.repeated(content, 1):
            if kind == 3:
                values += protobuf.integers(value)
            elif kind == 1:
                values.append(bytes(protobuf.message(value)))
            else:
                packed = protobuf.message(value)
                values += struct.unpack(f'<{len(packed) // 4}f', packed)
    return values
