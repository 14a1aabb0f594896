"""What a path may be, and what lies beside the weights."""

import foreign
import gguf_files
import pytest

from perl.models import files
from perl.models.files import gguf_header
from perl.system.errors import UserError


def test_what_is_foreign(tmp_path):
    folder = foreign.write(tmp_path / 'hf')
    assert files.is_foreign(folder)
    assert files.is_foreign('hub:someone/tiny')
    for name in ('x.gguf', 'x.pt', 'x.safetensors'):
        assert files.is_foreign(tmp_path / name)
    for name in ('x.bin', 'nowhere', 'x'):  # of llama2.c, or a base of ours
        assert not files.is_foreign(tmp_path / name)


def test_each_kind_is_opened(tmp_path):
    folder = foreign.write(tmp_path / 'hf')
    assert files.open_checkpoint(folder).config == foreign.CONFIG
    tensors = gguf_files.tensors()
    file = gguf_files.write(tmp_path / 'x.gguf', 'llama', gguf_files.SIZES, tensors)
    assert files.open_checkpoint(str(file)).config['model_type'] == 'llama'


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('nowhere', 'is not there'),
        ('x.pt', r'x\.pt is a pickle; .* never opened'),
        ('x.safetensors', r'is not a \.gguf file; give the folder'),
    ],
)
def test_what_is_not_opened(tmp_path, name, said):
    if name != 'nowhere':
        (tmp_path / name).write_bytes(b'xxxx')
    with pytest.raises(UserError, match=said):
        files.open_checkpoint(tmp_path / name)


def test_the_folder_of_a_run_is_told_its_base(tmp_path):
    base = tmp_path / 'pretrain' / 'base'
    base.mkdir(parents=True)
    (base / 'model.json').write_text('{}')
    (tmp_path / 'config.json').write_text('{"stages": ["pretrain"]}')
    assert files.located(base) == base
    for folder in (tmp_path, tmp_path / 'pretrain'):
        with pytest.raises(UserError) as caught:
            files.located(folder)
        assert str(caught.value) == (
            f'model.path: {folder} is the folder of a run or a stage, not of a base; '
            f'give {base}'
        )


def test_files_beside_a_folder(tmp_path):
    folder = foreign.write(tmp_path / 'hf')
    assert files.beside(folder) == {}
    (folder / 'tokenizer.json').write_text('{}')
    (folder / 'chat_template.jinja').write_text('x')
    (folder / 'other.txt').write_text('x')
    want = {'tokenizer.json': b'{}', 'chat_template.jinja': b'x'}
    assert files.beside(folder) == want


def test_files_beside_gguf(tmp_path):
    said = {
        'tokenizer.ggml.model': 'gpt2',
        'tokenizer.ggml.tokens': ['a', 'b', '</s>'],
        'tokenizer.ggml.eos_token_id': 2,
    }
    file = gguf_files.write(tmp_path / 'x.gguf', said=said)
    assert files.beside(file).keys() == {'tokenizer.json', 'tokenizer_config.json'}
    assert gguf_header.read_header(file).metadata['tokenizer.ggml.tokens'][1] == 'b'
