"""Actions on a phone: parsed, compared with what a person did, drawn wrong."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.data.sets.screens import actions
from perl.data.sets.screens.accessibility import Element

BUTTON = Element('Button', 'save', (0, 0, 100, 50), True)
SCREEN = [
    BUTTON,
    Element('Button', 'cancel', (100, 0, 200, 50), True),
    Element('View', '', (0, 0, 200, 400), False),
]
CLICK = {'action_type': 'click', 'x': 10, 'y': 20}


def test_parse_orders_and_strips():
    text = '{"y": 2, "x": 1, "action_type": "click", "extra": 1}'
    action = actions.parse(text)
    assert actions.write(action) == '{"action_type":"click","x":1,"y":2}'
    assert actions.parse(actions.write(action)) == action


@pytest.mark.parametrize('kind', actions.ACTIONS)
def test_every_kind(kind):
    values = {'x': 1, 'y': 2, 'direction': 'up', 'app_name': 'Notes', 'text': 'hi'}
    action = {'action_type': kind} | {n: values[n] for n in actions.ACTIONS[kind]}
    assert actions.parse(json.dumps(action)) == action
    assert actions.same(action, action, None)
    assert not actions.same({'action_type': kind + 'x'}, action, None)
    for name in actions.ACTIONS[kind]:
        with pytest.raises(ValueError, match=f"'{name}' of {kind} is None"):
            actions.parse(json.dumps({k: x for k, x in action.items() if k != name}))
        other = action | {name: 'else' if isinstance(values[name], str) else 99}
        assert not actions.same(other, action, None)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[]', 'not a JSON object'),
        ('{', 'Expecting'),
        ('{"action_type": "clik"}', "did you mean 'click'"),
        ('{}', 'no action_type None'),
        ('{"action_type": "click", "x": "1", "y": 2}', "'x' of click is '1'"),
        ('{"action_type": "scroll", "direction": "in"}', "no direction 'in'"),
    ],
)
def test_bad_actions(text, said):
    with pytest.raises(ValueError, match=said):
        actions.parse(text)


def test_target_is_the_smallest_element():
    assert actions.target(CLICK, SCREEN) is BUTTON
    assert actions.target(CLICK | {'y': 300}, SCREEN) is SCREEN[2]
    assert actions.target(CLICK | {'y': 900}, SCREEN) is None
    assert actions.target({'action_type': 'wait'}, SCREEN) is None


@pytest.mark.parametrize(
    ('said', 'right'),
    [
        ({'x': 99, 'y': 49}, True),
        ({'x': 100, 'y': 20}, False),
        ({'x': 10}, False),
        ({'x': '10', 'y': 20}, False),
        ({'x': 10, 'y': 20, 'action_type': 'long_press'}, False),
    ],
)
def test_a_click_is_right_anywhere_on_the_element(said, right):
    said = {'action_type': 'click'} | said
    assert actions.same(said, CLICK, BUTTON) is right


def test_gold():
    gold = actions.Gold()
    gold.steps = {
        'a': [(CLICK, BUTTON)],
        'b': [({'action_type': 'open_app', 'app_name': 'Notes'}, None)],
    }
    assert gold('a', ' {"action_type": "click", "x": 50.5, "y": 1}') == 1.0
    assert gold('a', '{"action_type":"click","x":150,"y":1}') == 0.0
    assert gold('b', '{"action_type":"open_app","app_name":"notes "}') == 1.0
    assert gold('b', '{"action_type":"open_app"}') == 0.0
    for response in ('', 'click', '[]', '3', '{"action_type":"click"'):
        assert gold('a', response) == 0.0


def test_gold_of_several_people():
    gold = actions.Gold()
    gold.add('a', CLICK, BUTTON)
    gold.add('a', {'action_type': 'wait'}, None)
    assert gold('a', '{"action_type":"click","x":50,"y":1}') == 1.0
    assert gold('a', '{"action_type":"wait"}') == 1.0
    assert gold('a', '{"action_type":"navigate_back"}') == 0.0


@given(st.integers(0, 40), st.integers(0, 10**6), st.sampled_from([CLICK, 'scroll']))
def test_wrong_actions_are_wrong_and_distinct(count, seed, done):
    if done == 'scroll':
        done = {'action_type': 'scroll', 'direction': 'up'}
    clicked = actions.target(done, SCREEN)
    drawn = actions.draw_wrong(done, clicked, SCREEN, count, random.Random(seed))
    texts = list(map(actions.write, drawn))
    possible = 2 + 6 - 1  # two buttons and six others, less what was done
    assert len(texts) == len(set(texts)) == min(count, possible)
    for wrong, text in zip(drawn, texts, strict=True):
        assert not actions.same(wrong, done, clicked)
        assert actions.parse(text) == wrong


def test_kinds_are_drawn_by_turns():
    """Or else one wrong action a step would give its kind away."""
    firsts, seconds = set(), set()
    for seed in range(20):
        first, second = actions.draw_wrong(
            CLICK, BUTTON, SCREEN, 2, random.Random(seed)
        )
        kinds = [x['action_type'] == 'click' for x in (first, second)]
        assert sum(kinds) == 1
        firsts.add(kinds[0])
        seconds.add(kinds[1])
    assert firsts == seconds == {False, True}
