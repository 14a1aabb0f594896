"""What the files beside a tokenizer.json or a tokenizer.model add to it."""

import json

import pytest
import tokenizer_files

from perl.data import tokenizers
from perl.data.tokenizers import Json
from perl.system.errors import UserError

ROLES = {'eos_token': '</s>', 'bos_token': '<s>'}


def write(folder, tokenizer=None, **files):
    """A folder with a byte-level tokenizer.json and other files by name."""
    (folder / 'tokenizer.json').write_text(
        tokenizer or tokenizer_files.byte_level(False).to_str()
    )
    for name, content in files.items():
        (folder / f'{name}.json').write_text(json.dumps(content))
    return tokenizers.load(folder)


def changed(change):
    """The tokenizer.json with its added tokens changed: a list of objects."""
    settings = json.loads(tokenizer_files.byte_level(False).to_str())
    settings['added_tokens'] = change(settings['added_tokens'])
    return json.dumps(settings)


@pytest.mark.parametrize(
    'files',
    [
        {'tokenizer_config': ROLES},
        {'tokenizer_config': {}, 'special_tokens_map': ROLES},
        {'special_tokens_map': {**ROLES, 'eos_token': {'content': '</s>'}}},
        # GPT-2 names its tokens nowhere but in the config of the model
        {
            'tokenizer_config': {'model_max_length': 1024},
            'config': {'bos_token_id': 1, 'eos_token_id': 2},
        },
        {'config': {'bos_token_id': 1, 'eos_token_id': [900, 2, 1]}},
    ],
)
def test_where_the_end_of_a_text_is_named(tmp_path, files):
    found = write(tmp_path, **files)
    assert (found.bos, found.eos, found.pad) == (1, 2, 2)


def test_what_tokenizer_config_says_counts_first(tmp_path):
    found = write(
        tmp_path,
        tokenizer_config={'eos_token': '<s>'},
        special_tokens_map=ROLES,
        config={'eos_token_id': 2},
    )
    assert found.eos == 1


@pytest.mark.parametrize(
    'change',
    [
        lambda added: [{**x, 'special': False} for x in added],
        lambda added: [x for x in added if x['content'] == '<pad>'],
    ],
)
def test_the_end_is_a_control_token_whatever_the_file_calls_it(change):
    found = Json(changed(change), **tokenizer_files.SPECIAL)
    assert found.controls['</s>'].id == found.eos == 2
    assert 2 not in found.encode('a</s>b')
    assert found.decode(found.encode('a</s>b')) == 'a</s>b'


@pytest.mark.parametrize(
    'said',
    [
        {'additional_special_tokens': ['<|end|>']},
        {'extra_special_tokens': {'end': {'content': '<|end|>'}}},
        {'added_tokens_decoder': {'306': {'content': '<|end|>', 'special': True}}},
    ],
)
@pytest.mark.parametrize('there', [True, False])
def test_tokens_that_the_config_adds(tmp_path, said, there):
    made = tokenizer_files.byte_level(False)
    size = made.get_vocab_size()
    assert size == 306
    if there:
        made.add_tokens(['<|end|>'])  # as one that is not special
    found = write(tmp_path, made.to_str(), tokenizer_config={**ROLES, **said})
    assert found.size == size + 1 and found.controls['<|end|>'].id == size
    assert size not in found.encode('a<|end|>')
    found.save(tmp_path / 'run')
    again = tokenizers.load(tmp_path / 'run')
    assert again.controls == found.controls and again.fingerprint == found.fingerprint


def test_a_config_that_adds_nothing_changes_no_fingerprint(tmp_path):
    content = tokenizer_files.byte_level(False).to_str()
    decoder = {'2': {'content': '</s>', 'special': True}}
    found = write(tmp_path, tokenizer_config={**ROLES, 'added_tokens_decoder': decoder})
    plain = Json(content, pad='</s>', bos='<s>', eos='</s>', adds_bos=None)
    assert found.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('added_tokens', {'<|im_end|>': 340}),
        (
            'tokenizer_config',
            {'added_tokens_decoder': {'340': {'content': '<|im_end|>'}}},
        ),
        ('tokenizer_config', {'eos_token': '<|im_end|>'}),
    ],
)
def test_a_model_that_lacks_tokens_is_refused_or_the_json_is_taken(
    tmp_path, name, content
):
    model = tokenizer_files.sentence_piece()
    (tmp_path / 'tokenizer.model').write_bytes(model)
    assert tokenizers.load(tmp_path).size == 340
    (tmp_path / f'{name}.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lacks the token '<\|im_end\|>'.*save_pre"):
        tokenizers.load(tmp_path)
    made = tokenizer_files.metaspace()
    made.add_special_tokens(['<|im_end|>'])
    (tmp_path / 'tokenizer.json').write_text(made.to_str())
    config = {**ROLES, 'eos_token': '<|im_end|>'}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    assert isinstance(tokenizers.load(tmp_path), Json)


@pytest.mark.parametrize('content', ['[]', '{"model": []}', '{"model": {"vocab": 3}}'])
def test_a_damaged_json_is_one_line(tmp_path, content):
    with pytest.raises(UserError, match=r'tokenizer') as caught:
        write(tmp_path, content, config={'eos_token_id': 2})
    assert '\n' not in str(caught.value)


def test_a_token_to_pad_with_may_be_missing_in_a_model(tmp_path):
    (tmp_path / 'tokenizer.model').write_bytes(tokenizer_files.sentence_piece())
    (tmp_path / 'added_tokens.json').write_text('{"<pad>": 340}')
    (tmp_path / 'tokenizer_config.json').write_text('{"pad_token": "<pad>"}')
    assert tokenizers.load(tmp_path).size == 340
