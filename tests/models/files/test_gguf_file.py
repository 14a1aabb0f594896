"""GGUF files as checkpoints: names, values and what is refused."""

import gguf_files
import numpy as np
import pytest

from perl.models.files import gguf_file, gguf_names
from perl.system.errors import UserError

VALUES = {
    **gguf_files.SIZES,
    'attention.key_length': 16,
    'attention.value_length': 16,
    'attention.sliding_window': 24,
}


def written(tmp_path, arch, change=None, said=(), **options):
    values = {k: v for k, v in VALUES.items() if 'gemma' in arch or 'window' not in k}
    if arch == 'gemma':
        del values['attention.sliding_window']
    tensors = gguf_files.tensors(arch, values, **options)
    if change:
        change(tensors)
    file = tmp_path / 'x.gguf'
    return tensors, gguf_files.write(file, arch, values, tensors, said)


@pytest.mark.parametrize('arch', gguf_names.DIALECTS)
def test_every_tensor_has_a_name_and_its_numbers(tmp_path, arch):
    tensors, file = written(tmp_path, arch, tied='gemma' in arch)
    checkpoint = gguf_file.read_gguf(file)
    assert len(checkpoint.tensors) == len(tensors)
    assert all(x.startswith(('model.', 'lm_head.')) for x in checkpoint.tensors)
    embed = checkpoint.tensors['model.embed_tokens.weight'].read()
    np.testing.assert_array_equal(embed, tensors['token_embd.weight'])
    q = checkpoint.tensors['model.layers.1.self_attn.q_proj.weight'].read()
    rows = tensors['blk.1.attn_q.weight'].reshape(4, 8, 2, 32)
    if arch == 'llama':  # row 2i of a head is row i, row 2i + 1 is row i + N/2
        for i in range(8):
            np.testing.assert_array_equal(q.reshape(4, 16, 32)[:, i], rows[:, i, 0])
            np.testing.assert_array_equal(q.reshape(4, 16, 32)[:, i + 8], rows[:, i, 1])
    else:
        np.testing.assert_array_equal(q, rows.reshape(64, 32))
    norm = checkpoint.tensors['model.layers.1.input_layernorm.weight'].read()
    offset = 1 if 'gemma' in arch else 0
    np.testing.assert_array_equal(norm + offset, tensors['blk.1.attn_norm.weight'])


def test_rope_factors_are_of_the_config_and_no_tensor(tmp_path):
    def add(tensors):
        tensors['rope_freqs.weight'] = gguf_files.factors(8)

    tensors, file = written(tmp_path, 'llama', add)
    checkpoint = gguf_file.read_gguf(file)
    assert checkpoint.config['rope_scaling']['rope_type'] == 'llama3'
    assert len(checkpoint.tensors) == len(tensors) - 1


def test_a_tensor_that_is_not_known(tmp_path):
    def add(tensors):
        tensors['blk.0.ffn_gate_inp.weight'] = np.zeros((4, 32), np.float32)

    with pytest.raises(UserError, match=r'of its tensor blk\.0\.ffn_gate_inp\.weight'):
        gguf_file.read_gguf(written(tmp_path, 'llama', add)[1])


@pytest.mark.parametrize(
    ('ids', 'want'),
    [
        ({'eos': 2}, {'eos_token_id': 2}),
        ({'eos': 2, 'eot': 2}, {'eos_token_id': 2}),
        ({'eos': 2, 'eot': 3, 'bos': 1}, {'eos_token_id': [2, 3], 'bos_token_id': 1}),
        ({'padding': 0}, {'pad_token_id': 0}),
    ],
)
def test_what_ends_a_text(tmp_path, ids, want):
    said = {f'tokenizer.ggml.{name}_token_id': number for name, number in ids.items()}
    _, file = written(tmp_path, 'llama', said=said)
    assert gguf_file.read_gguf(file).generation == want


def test_a_truncated_file(tmp_path):
    _, file = written(tmp_path, 'llama')
    file.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(UserError, match=r'is truncated: blk\.1\.\w+\.weight ends at'):
        gguf_file.read_gguf(file)
