"""A base brings its tokenizer, whatever it lies in."""

import json

import gguf_files
import pytest
import tokenizer_files

from perl.data import tokenizers
from perl.system.errors import UserError


def test_the_folder_of_a_base_of_ours(tmp_path):
    tokenizers.Bytes().save(tmp_path / 'tokenizer')
    assert tokenizers.of_base(tmp_path) == tokenizers.Bytes()


def test_a_folder_of_hugging_face(tmp_path):
    made = tokenizer_files.byte_level()
    (tmp_path / 'tokenizer.json').write_text(made.to_str())
    with pytest.raises(UserError, match='its end-of-sequence token is unknown'):
        tokenizers.of_base(tmp_path)
    said = {'eos_token': '</s>', 'pad_token': '<pad>'}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(said))
    found = tokenizers.of_base(str(tmp_path))
    assert found.eos == made.token_to_id('</s>')


def test_a_sentence_piece_model(tmp_path):
    content = tokenizer_files.sentence_piece()
    (tmp_path / 'tokenizer.model').write_bytes(content)
    found = tokenizers.of_base(tmp_path)
    assert found.fingerprint == tokenizers.SentencePiece(content).fingerprint


def test_llama2c(tmp_path):
    (tmp_path / 'model.bin').write_bytes(b'xxxx')
    assert tokenizers.of_base(tmp_path / 'model.bin') is None
    content = tokenizer_files.llama2c()
    (tmp_path / 'tokenizer.bin').write_bytes(content)
    found = tokenizers.of_base(tmp_path / 'model.bin')
    assert found.fingerprint == tokenizers.Llama2c(content).fingerprint


def gguf_of(file, made):
    settings, ids = json.loads(made.to_str()), made.get_vocab(True)
    tokens = sorted(ids, key=ids.get)
    special = tokenizer_files.SPECIAL.values()
    merges = settings['model']['merges']
    said = {
        'model': 'gpt2',
        'pre': 'gpt-2',
        'tokens': tokens,
        'token_type': [3 if x in special else 1 for x in tokens],
        'merges': [x if isinstance(x, str) else ' '.join(x) for x in merges],
        'bos_token_id': ids['<s>'],
        'eos_token_id': ids['</s>'],
    }
    said = {f'tokenizer.ggml.{key}': x for key, x in said.items()}
    return gguf_files.write(file, said=said)


@pytest.mark.parametrize('find', [tokenizers.of_base, tokenizers.load])
def test_a_gguf_file(tmp_path, find):
    made = tokenizer_files.byte_level(add_prefix_space=False)
    file = gguf_of(tmp_path / 'x.gguf', made)
    found = find(file)
    text = 'The cat sat, 12 times: ü\n'
    assert found.encode(text, start=True) == made.encode(text).ids
    assert found.decode(found.encode(text)) == text
    assert (found.bos, found.eos) == (1, 2)
    found.save(tmp_path / 'saved')
    assert tokenizers.load(tmp_path / 'saved').fingerprint == found.fingerprint


def test_a_base_without_one(tmp_path):
    assert tokenizers.of_base(tmp_path) is None
    (tmp_path / 'x.bin').write_bytes(b'xxxx')
    assert tokenizers.of_base(tmp_path / 'x.bin') is None
    with pytest.raises(UserError, match='has no tokenizer'):
        tokenizers.of_base(gguf_files.write(tmp_path / 'x.gguf'))
