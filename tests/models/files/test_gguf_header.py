"""The header of GGUF files, beside the reader of the package `gguf`."""

import struct
import sys

import gguf
import gguf_files
import numpy as np
import pytest

from perl.models.files import gguf_header
from perl.system.errors import UserError

SAID = {
    'a.text': 'Grüße ▁',
    'a.flag': True,
    'a.number': 7,
    'a.float': 0.1,
    'a.numbers': [1, 2, 3],
    'a.texts': ['x', '', 'yß'],
    'a.floats': [0.5, -1.5],
    'a.flags': [True, False],
}


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(4, 64)).astype(np.float32)
    tensors = {
        'plain': array,
        'half': array.astype(np.float16),
        'packed': gguf_files.packed(array, 'Q8_0'),
        'short': array[0, :5],
    }
    return gguf_files.write(tmp_path / 'x.gguf', tensors=tensors, said=SAID)


def test_it_says_what_the_package_says(file):
    header, reader = gguf_header.read_header(file), gguf.GGUFReader(file)
    said = {k: v for k, v in reader.fields.items() if not k.startswith('GGUF.')}
    assert header.metadata == {k: v.contents() for k, v in said.items()}
    assert header.metadata.keys() > SAID.keys()
    assert list(header.tensors) == [x.name for x in reader.tensors]
    for want in reader.tensors:
        got = header.tensors[want.name]
        assert got.shape == tuple(want.shape[::-1].tolist())
        assert (got.kind, got.offset) == (want.tensor_type.name, want.data_offset)
        assert got.nbytes == want.n_bytes


def test_every_type_of_number(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / 'x.gguf', 'llama')
    for kind, value in {
        'uint8': 200, 'int8': -100, 'uint16': 60000, 'int16': -30000, 'uint32': 2**31,
        'int32': -(2**30), 'uint64': 2**63, 'int64': -(2**62), 'float64': 0.1,
    }.items():  # fmt: skip
        getattr(writer, f'add_{kind}')(kind, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    found = gguf_header.read_header(tmp_path / 'x.gguf').metadata
    want = gguf.GGUFReader(tmp_path / 'x.gguf').fields
    assert {k: want[k].contents() for k in found} == found
    assert found['int64'] == -(2**62)


def test_an_alignment_of_its_own(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / 'x.gguf', 'llama')
    writer.add_custom_alignment(256)
    writer.add_tensor('a', np.ones(3, np.float32))
    writer.add_tensor('b', np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = gguf_header.read_header(tmp_path / 'x.gguf').tensors
    assert found['a'].offset % 256 == 0
    assert found['b'].offset == found['a'].offset + 256


@pytest.mark.parametrize('part', np.linspace(0, 0.99, 12))
def test_wherever_it_is_truncated(file, part):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r'x\.gguf is (truncated|not a GGUF file)') as e:
        gguf_header.read_header(file)
    assert '\n' not in str(e.value)


def test_the_tensor_that_is_cut_off_is_named(file):
    file.write_bytes(file.read_bytes()[:-40])  # 32 of them are padding
    with pytest.raises(UserError, match='is truncated: short ends at byte'):
        gguf_header.read_header(file)


@pytest.mark.parametrize('seed', range(20))
def test_bytes_at_random(file, seed):
    """Whatever a header says, it is read or refused in one line."""
    rng, data = np.random.default_rng(seed), bytearray(file.read_bytes())
    for at in rng.integers(4, 600, 30):
        data[at] = rng.integers(256)
    file.write_bytes(data)
    with pytest.raises(UserError, match=r'model\.path: .*x\.gguf'):
        gguf_header.read_header(file)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'is not a GGUF file'),
        (b'GGML' + bytes(40), 'is not a GGUF file'),
        (b'GGUF' + struct.pack('<I', 1) + bytes(40), 'GGUF version 1'),
        (b'GGUF' + struct.pack('>I', 3) + bytes(40), 'files for big-endian machines'),
        (b'GGUF' + struct.pack('<IQQ', 3, 2**62, 2**62), 'is truncated or damaged'),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, said):
    (tmp_path / 'x.gguf').write_bytes(content)
    with pytest.raises(UserError, match=said):
        gguf_header.read_header(tmp_path / 'x.gguf')


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='is not there'):
        gguf_header.read_header(tmp_path / 'x.gguf')


def test_a_file_that_has_changed_is_read_again(file):
    before = gguf_header.read_header(file)
    assert gguf_header.read_header(file) is before
    gguf_files.write(file, 'qwen2')
    assert gguf_header.read_header(file).metadata['general.architecture'] == 'qwen2'


def test_the_extra_is_named_where_the_package_is_missing(file, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gguf', None)
    with pytest.raises(UserError, match=r"pip install 'perl\[gguf\]'"):
        gguf_header.package()
