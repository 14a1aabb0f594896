"""Messages are texts too; dialogs of HH and plain prompts become messages."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.data import Comparison, Dataset, Demonstration, Rating
from perl.data.chat import Chat, as_trained, from_dialog, has_messages, wrap
from perl.data.records import fingerprint

TURNS = (('user', 'a'), ('assistant', 'b'), ('user', 'c'))


def test_text_of_messages():
    assert Chat([('user', 'a')]) == 'a'
    assert Chat(TURNS) == 'user: a\n\nassistant: b\n\nuser: c'
    made = Chat(TURNS)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other == made and other.messages == TURNS
    plain, system = Chat([('user', 'a')]), Chat([('system', 'a')])
    assert plain == system and fingerprint([plain]) != fingerprint([system])


@pytest.mark.parametrize(
    ('text', 'turns'),
    [
        ('\n\nHuman: a\n\nAssistant:', [('user', 'a')]),
        ('\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:', TURNS),
        ('\n\nHuman: a\n\nHuman: b\n\nAssistant:', [('user', 'a\n\nb')]),
        ('\n\nHuman: a\n\nAssistant:\n\nHuman: b\n\nAssistant:', [('user', 'a\n\nb')]),
        ('\n\nAssistant: a\n\nHuman: b', [('user', '\n\nAssistant: a\n\nHuman: b')]),
        ('\n\nHuman: a\n\nAssistant: b', [('user', '\n\nHuman: a\n\nAssistant: b')]),
        (' a\n', [('user', ' a\n')]),
        ('', [('user', '')]),
    ],
)
def test_dialogs(text, turns):
    assert from_dialog(text) == tuple(turns)


words = st.text(st.sampled_from('ab \n:'), min_size=1).filter(str.strip)


@given(st.lists(words, min_size=1, max_size=5).filter(lambda x: len(x) % 2))
def test_a_dialog_keeps_its_words(turns):
    speakers = ('Human', 'Assistant')
    cues = (f'\n\n{speakers[n % 2]}: {x}' for n, x in enumerate(turns))
    found = from_dialog(''.join(cues) + '\n\nAssistant:')
    assert [content for _, content in found] == [x.strip() for x in turns]
    assert [role for role, _ in found][::2] == ['user'] * (len(turns) // 2 + 1)


def test_a_wrapped_data_set():
    prompt = '\n\nHuman: a\n\nAssistant:'
    data = Dataset('x', prompt_groups={prompt: 'g'})
    data.demonstrations['train'] = [Demonstration(prompt, ' b')]
    data.comparisons['val'] = [Comparison(prompt, (' b', ' c'), margin=2.0)]
    data.ratings['test'] = [Rating(prompt, ' b', 0.5)]
    data.prompts['test'], data.text['train'] = [prompt, 'p'], [prompt + ' b']
    made = wrap(data)
    asked = Chat([('user', 'a')])
    assert made.demonstrations['train'] == [Demonstration(asked, 'b')]
    assert made.comparisons['val'] == [Comparison(asked, ('b', 'c'), margin=2.0)]
    assert made.ratings['test'] == [Rating(asked, 'b', 0.5)]
    assert made.prompts['test'] == ['a', 'p'] and made.text == data.text
    assert all(isinstance(x, Chat) for x in made.prompts['test'])
    assert made.prompt_groups == {'a': 'g'}
    assert has_messages(made) and not has_messages(data)
    assert isinstance(as_trained(made, ['q'])[0], Chat)
    assert not isinstance(as_trained(data, ['q'])[0], Chat)
    assert wrap(made) == made
