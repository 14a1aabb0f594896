"""Checkpoints beside transformers: what it wrote, we read, and the reverse."""

import json

import gguf
import gguf_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from perl.data import tokenizers
from perl.models import bases, decoder, files
from perl.rollout import sampler

SIZES = {
    'vocab_size': 96,
    'hidden_size': 32,
    'intermediate_size': 64,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 8,
}
CLASSES = {
    'llama': transformers.LlamaConfig,
    'qwen2': transformers.Qwen2Config,
    'qwen3': transformers.Qwen3Config,
    'gemma': transformers.GemmaConfig,
    'gemma2': transformers.Gemma2Config,
    'gemma3': transformers.Gemma3TextConfig,
}
TOKENS = torch.arange(24).reshape(2, 12) * 3 % 96


def model(name, dtype=torch.float32, **changes):
    """A model of transformers with random weights."""
    torch.manual_seed(0)
    config = CLASSES[name](**{**SIZES, **changes})
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def numbers(tensor):
    """A tensor's bits as an array."""
    same_bits = {torch.bfloat16: torch.int16}.get(tensor.dtype, tensor.dtype)
    return tensor.detach().view(same_bits).numpy()


def loaded(folder, **options):
    """What transformers makes of a folder; it fails where a tensor has no place."""
    found, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, **options
    )
    assert not any(info.values()), info
    return found.eval()


@pytest.mark.parametrize('name', CLASSES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_there_and_back(tmp_path, name, dtype):
    """Bit for bit, from one file into several."""
    want = model(name, dtype)
    want.save_pretrained(tmp_path / 'theirs')
    read = files.open_checkpoint(tmp_path / 'theirs')
    files.write_checkpoint(
        tmp_path / 'ours',
        read.config,
        read.tensors,
        generation=read.generation,
        shard_bytes=20000,
    )
    got = loaded(tmp_path / 'ours', dtype='auto')
    assert got.config.to_dict() == {
        **want.config.to_dict(),
        '_name_or_path': str(tmp_path / 'ours'),
    }
    states = got.state_dict(), want.state_dict()
    assert states[0].keys() == states[1].keys()
    for key, tensor in states[1].items():
        assert states[0][key].dtype == dtype
        np.testing.assert_array_equal(numbers(states[0][key]), numbers(tensor))
    with torch.no_grad():
        assert torch.equal(got(TOKENS).logits, want(TOKENS).logits)


@pytest.mark.parametrize('size', ['30KB', '1MB'])
def test_shards_of_theirs(tmp_path, size):
    want = model('llama')
    want.save_pretrained(tmp_path, max_shard_size=size)
    shards = len(list(tmp_path.glob('*.safetensors')))
    assert (shards > 1) == (size == '30KB')
    read = files.open_checkpoint(tmp_path)
    state = want.state_dict()
    assert read.tensors.keys() == state.keys()
    for key, tensor in read.tensors.items():
        np.testing.assert_array_equal(tensor.read(), numbers(state[key]))


VALUES = {
    'embedding_length': 256,
    'feed_forward_length': 256,
    'attention.head_count': 8,
    'rope.dimension_count': 32,
}


def gguf_of(file, kind):
    """A Llama whose matrices are of a packing."""
    sizes, rng = {**gguf_files.SIZES, **VALUES}, np.random.default_rng(1)

    def pack(array):
        if array.ndim == 1 or kind == 'F32':
            return array
        if kind in ('Q4_K', 'Q5_K', 'Q6_K'):
            return gguf_files.random_blocks(rng, array.shape, kind)
        return gguf_files.packed(array, kind)

    tensors = gguf_files.tensors(sizes=sizes)
    return gguf_files.write(
        file, values=sizes, tensors={k: pack(x) for k, x in tensors.items()}
    )


PACKINGS = ('F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1')


@pytest.mark.parametrize('kind', [*PACKINGS, 'Q4_K', 'Q5_K', 'Q6_K'])
def test_gguf_of_llama(tmp_path, kind):
    file = gguf_of(tmp_path / 'x.gguf', kind)
    same_as_theirs(file)


def same_as_theirs(file):
    """Our reading of a GGUF file, written, beside theirs of the file itself."""
    want = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).eval()
    read = files.open_checkpoint(file)
    folder = file.parent / 'ours'
    files.write_checkpoint(folder, read.config, read.tensors)
    got = loaded(folder, dtype=torch.float32)
    states = got.state_dict(), want.state_dict()
    assert states[0].keys() == states[1].keys()
    for key, tensor in states[1].items():
        np.testing.assert_array_equal(states[0][key].numpy(), tensor.numpy())
    with torch.no_grad():
        assert torch.equal(got(TOKENS).logits, want(TOKENS).logits)


@pytest.mark.parametrize('arch', ['llama', 'qwen2'])
@pytest.mark.parametrize('tied', [True, False])
def test_gguf_beside_their_reading(tmp_path, arch, tied):
    """Of the architectures whose settings they take over whole."""
    values = {**gguf_files.SIZES, 'rope.freq_base': 5e5}
    tensors = gguf_files.tensors(arch, values, tied=tied)
    same_as_theirs(gguf_files.write(tmp_path / 'x.gguf', arch, values, tensors))


def written_as_llama_cpp(file, arch, want):
    """A model of transformers as convert_hf_to_gguf.py of llama.cpp writes it."""
    config, tensors = want.config, {}
    kind = gguf.MODEL_ARCH[arch.upper()]
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for key, tensor in want.state_dict().items():
        array = tensor.numpy()
        if key == 'lm_head.weight' and config.tie_word_embeddings:
            continue
        if arch == 'llama' and '.q_proj.' in key:
            array = permuted(array, config.num_attention_heads)
        if arch == 'llama' and '.k_proj.' in key:
            array = permuted(array, config.num_key_value_heads)
        if arch.startswith('gemma') and key.endswith('norm.weight'):
            array = array + 1
        tensors[names.get_name(key, ('.weight', '.bias'))] = array
    values = {
        'block_count': config.num_hidden_layers,
        'context_length': config.max_position_embeddings,
        'embedding_length': config.hidden_size,
        'feed_forward_length': config.intermediate_size,
        'attention.head_count': config.num_attention_heads,
        'attention.head_count_kv': config.num_key_value_heads,
        'attention.layer_norm_rms_epsilon': config.rms_norm_eps,
        'attention.key_length': config.head_dim,
        'attention.value_length': config.head_dim,
    }
    return gguf_files.write(file, arch, {**values, **SETTINGS[arch](config)}, tensors)


def permuted(weights, heads):
    """Its `LlamaModel.permute`."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def theta(config):
    rope = config.rope_parameters
    return {'rope.freq_base': rope.get('full_attention', rope)['rope_theta']}


def windowed(config):
    caps = ('attn_logit_softcapping', 'final_logit_softcapping')
    found = {name: getattr(config, name) for name in caps if getattr(config, name)}
    return {**theta(config), **found, 'attention.sliding_window': config.sliding_window}


SETTINGS = {
    **dict.fromkeys(('llama', 'qwen2', 'qwen3'), theta),
    'gemma': lambda config: {},
    **dict.fromkeys(('gemma2', 'gemma3'), windowed),
}
CHANGES = {
    'llama': {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}},
    'qwen3': {'head_dim': 16, 'tie_word_embeddings': True},
    'gemma2': {'head_dim': 16, 'query_pre_attn_scalar': 16, 'sliding_window': 5},
    'gemma3': {
        'head_dim': 16,
        'query_pre_attn_scalar': 16,
        'sliding_window': 5,
        'num_hidden_layers': 7,
    },
}


@pytest.mark.parametrize('arch', CLASSES)
def test_what_llama_cpp_writes(tmp_path, arch):
    """A model comes back from its GGUF file bit for bit, and gives the same logits, in
    their code and in ours."""
    want = model(arch, **CHANGES.get(arch, {}))
    if arch == 'qwen2':
        want.config.head_dim = 8
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for key, tensor in want.state_dict().items():
            if key.endswith(
                ('norm.weight', '.bias')
            ):  # 1 + w - 1 is exact on this grid
                grid = rng.integers(-200, 200, tuple(tensor.shape)) / 1024
                tensor.copy_(torch.tensor(grid, dtype=torch.float32))
    file = written_as_llama_cpp(tmp_path / 'x.gguf', arch, want)
    read = files.open_checkpoint(file)
    files.write_checkpoint(tmp_path / 'ours', read.config, read.tensors)
    got = loaded(tmp_path / 'ours', dtype=torch.float32)
    states = got.state_dict(), want.state_dict()
    assert states[0].keys() == states[1].keys()
    for key, tensor in states[1].items():
        np.testing.assert_array_equal(states[0][key].numpy(), tensor.numpy())
    with torch.no_grad():
        assert torch.equal(got(TOKENS).logits, want(TOKENS).logits)
        logits = want(TOKENS).logits.numpy()
    arch = bases.describe(file)
    params, _ = bases.load(file, arch, lambda _, leaf, x: jnp.asarray(x))
    tokens = jnp.asarray(TOKENS.numpy(), jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    states = decoder.hidden(arch, params, tokens, positions)
    ours = decoder.unembed(arch, params, states)
    np.testing.assert_allclose(ours, logits, atol=1e-4, rtol=1e-4)


TEXTS = [
    'The capital of France is',
    "  I'LL pay 12345 €,\n\n\tor don't.  ",
    'Grüße 日本語 🙂 <|im_start|>user\nHi<|im_end|>\n',
]


@pytest.fixture(scope='module')
def reference(shared):
    """What transformers gives for five prompts, in float32."""
    return json.loads((shared / 'models' / 'smollm2_reference.json').read_text())


@pytest.fixture(scope='module')
def real(smollm2, tmp_path_factory):
    """SmolLM2 read from its GGUF file, and the folder that was written of it."""
    folder, read = tmp_path_factory.mktemp('smollm2'), files.open_checkpoint(smollm2)
    files.write_checkpoint(
        folder,
        read.config,
        read.tensors,
        generation=read.generation,
        beside=files.beside(smollm2),
        shard_bytes=10**8,
    )
    return smollm2, folder


def test_the_tokenizer_of_smollm2(real, reference):
    """Beside what transformers makes of the same file, and of what we wrote."""
    file, folder = real
    theirs = transformers.AutoTokenizer.from_pretrained(
        file.parent, gguf_file=file.name
    )
    written = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        want = theirs(text)['input_ids']
        assert written(text)['input_ids'] == want
        assert written.decode(want) == theirs.decode(want)
    assert written.eos_token == theirs.eos_token == '<|im_end|>'
    assert written.bos_token_id == 1
    said = [{'role': 'user', 'content': 'Name three fruits.'}]
    rendered = written.apply_chat_template(said, add_generation_prompt=True)
    assert rendered['input_ids'] == reference[2]['prompt_ids']


def test_smollm2_as_we_wrote_it(real, reference):
    """transformers loads the folder, and finds the next tokens of the reference."""
    _, folder = real
    found = loaded(folder, dtype=torch.float32)
    assert found.generation_config.eos_token_id == 2
    row = reference[0]
    with torch.no_grad():
        logits = found(torch.tensor([row['prompt_ids']])).logits[0, -1]
    got = torch.log_softmax(logits, -1)[row['top3_ids']]
    np.testing.assert_allclose(got, row['top3_log_probs'], atol=1e-4)


def test_smollm2_in_our_decoder(smollm2, reference):
    """Ids and log-probs through our own tokenizer and model; commands write the greedy
    texts, in `test_generate.py` and `test_peft.py`."""
    arch, tokenizer = bases.describe(smollm2), tokenizers.of_base(smollm2)
    params, _ = bases.load(smollm2, arch, lambda _, leaf, x: jnp.asarray(x))
    assert sum(x.size for x in jax.tree.leaves(params)) == 134_515_008
    for row in reference:
        if not row['chat']:
            assert tokenizer.encode(row['prompt'], start=True) == row['prompt_ids']
    lengths = jnp.array([len(row['prompt_ids']) for row in reference])
    longest = int(lengths.max())
    prompts = jnp.array(
        [
            [0] * (longest - len(row['prompt_ids'])) + row['prompt_ids']
            for row in reference
        ]
    )
    places = sampler.left_padded(lengths, longest)
    run = jax.jit(decoder.hidden, static_argnums=0)
    states = run(arch, params, prompts, *places)[:, -1:]
    log_probs = jax.nn.log_softmax(decoder.unembed(arch, params, states)[:, 0])
    for row, found in zip(reference, np.asarray(log_probs), strict=True):
        assert np.argsort(-found)[:3].tolist() == row['top3_ids']
        np.testing.assert_allclose(
            found[row['top3_ids']], row['top3_log_probs'], atol=1e-3
        )
