"""A tokenizer.json gives texts in parts back, and the ids of the running text."""

import functools
import json

import pytest
import tokenizer_files
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.data.tokenizers import Json
from perl.data.tokenizers.json_steps import for_parts
from perl.system.errors import UserError

# U+2581 is how these files write a space
TEXT = st.text(st.characters(codec='utf-8', exclude_characters='▁'))
FORMS = {
    'llama2': lambda: tokenizer_files.llama2().to_str(),
    'metaspace always': lambda: tokenizer_files.metaspace('always').to_str(),
    'metaspace first': lambda: tokenizer_files.metaspace('first').to_str(),
    'metaspace of old': tokenizer_files.older_metaspace,
    'words': lambda: tokenizer_files.words().to_str(),
    'byte level': lambda: tokenizer_files.byte_level().to_str(),
}
WITHOUT = {
    'metaspace never': lambda: tokenizer_files.metaspace('never').to_str(),
    'byte level': lambda: tokenizer_files.byte_level(False).to_str(),
}
PARTS = [
    ('TL;DR:', ' A short one.'),
    ('The cat', ' sat on a mat.\n'),
    ('Once upon a time,\n', 'A cat'),
    ('A  ', '  cat '),
    (' A', '猫 ünï'),
]


@functools.cache
def content(form):
    return {**FORMS, **{f'no {k}': v for k, v in WITHOUT.items()}}[form]()


@functools.cache
def tokenizer(form):
    return Json(content(form), **tokenizer_files.SPECIAL)


def as_the_file_says(form, text):
    """The ids that the `tokenizers` library gives a whole text."""
    model = hf.Tokenizer.from_str(content(form))
    return model.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(('prompt', 'response'), PARTS)
def test_parts_are_the_text(form, prompt, response):
    t = tokenizer(form)
    after = t.encode(response)
    assert t.decode(t.encode(prompt) + after) == prompt + response
    running = [t.bos, *t.encode(prompt, start=True), *after]
    assert t.decode(running) == prompt + response
    assert t.decode(after) == response


@pytest.mark.parametrize('form', FORMS)
@settings(max_examples=30, deadline=None)
@given(prompt=TEXT, response=TEXT)
def test_any_parts_are_the_text(form, prompt, response):
    t = tokenizer(form)
    ids = t.encode(prompt, start=True) + t.encode(response, start=not prompt)
    assert t.decode([t.bos, *ids, t.eos, t.pad]) == prompt + response
    assert t.unknown(prompt + response, t.encode(prompt + response)) == 0


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(('prompt', 'response'), PARTS[:2])
def test_ids_are_those_of_the_running_text(form, prompt, response):
    t = tokenizer(form)
    together = as_the_file_says(form, prompt + response.rstrip())
    assert t.encode(prompt, start=True) + t.encode(response.rstrip()) == together


@pytest.mark.parametrize('form', FORMS)
def test_only_a_start_has_a_space(form):
    t = tokenizer(form)
    assert t.leading_space
    assert t.encode('A', start=True) == as_the_file_says(form, 'A')
    assert t.encode('A') != t.encode('A', start=True) == t.encode(' A')
    assert t.encode('', start=True) == []


@pytest.mark.parametrize('form', WITHOUT)
def test_a_file_without_a_space_has_none(form):
    t = tokenizer(f'no {form}')
    assert not t.leading_space
    assert t.encode('A', start=True) == t.encode('A')
    assert t.decode([t.bos, *t.encode(' A')]) == ' A'


def test_what_strips_a_text_is_left_out():
    model = json.loads(tokenizer_files.metaspace('never').to_str())
    model['normalizer'] = {'type': 'Strip', 'strip_left': True, 'strip_right': True}
    t = Json(json.dumps(model), **tokenizer_files.SPECIAL)
    assert t.decode(t.encode(' cat ')) == ' cat '


def test_other_steps_stay():
    lower = {'type': 'Lowercase'}
    split = {'type': 'Split', 'pattern': {'String': 'x'}, 'behavior': 'Isolated'}
    inner = {'type': 'Sequence', 'pretokenizers': [{'type': 'ByteLevel'}]}
    before = {
        'model': {'type': 'BPE'},
        'normalizer': lower,
        'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [split, inner]},
        'decoder': None,
    }
    got, space = for_parts(before)
    assert not space and got['normalizer'] == lower and got['decoder'] is None
    assert got['model'] == {'type': 'BPE'}
    assert got['pre_tokenizer']['pretokenizers'] == [split, {'type': 'ByteLevel'}]


def test_characters_that_are_left_out_are_counted():
    model = tokenizer_files.metaspace(byte_fallback=False, unk=None)
    t = Json(model.to_str(), **tokenizer_files.SPECIAL)
    text = 'The 猫 sat, the 猫犬'
    assert t.decode(t.encode(text)) == 'The  sat, the '
    assert t.unknown(text, t.encode(text)) == 3
    assert t.unknown('The cat', t.encode('The cat')) == 0


def test_unknown_tokens_are_counted():
    model = tokenizer_files.metaspace(byte_fallback=False)
    t = Json(model.to_str(), **tokenizer_files.SPECIAL)
    assert t.unknown('The 猫 sat', t.encode('The 猫 sat')) == 1
    assert t.unknown('The cat', t.encode('The cat')) == 0


def test_a_model_that_cannot_say_unknown():
    model = hf.Tokenizer(hf.models.Unigram([(x, -1.0) for x in ('a', '</s>')]))
    t = Json(model.to_str(), pad='</s>', bos='</s>', eos='</s>')
    with pytest.raises(UserError, match='cannot encode a text'):
        t.encode('b')


def test_special_tokens_of_other_uses_are_out_of_reach():
    made = tokenizer_files.byte_level()
    size = made.get_vocab_size()
    made.add_special_tokens(['<image>'])
    own = Json(made.to_str(), **tokenizer_files.SPECIAL)
    assert (own.size, own.reach) == (size + 1, size)
    assert size not in own.encode('a cat<image>')
    other = Json(made.to_str(), pad='<pad>', bos='<s>', eos='<image>')
    assert other.reach == size + 1
    made.add_tokens(['<plain>'])
    assert Json(made.to_str(), **tokenizer_files.SPECIAL).reach == size + 2
