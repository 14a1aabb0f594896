"""Actions on a phone, as in AndroidControl: parses, compares and draws wrong ones."""

import json
import random
from typing import Any

from perl.data.files import json_text
from perl.data.files.excerpts import shown
from perl.data.sets.screens.accessibility import Element
from perl.system.suggest import near_miss

Action = dict[str, Any]

DIRECTIONS = ('up', 'down', 'left', 'right')
# The arguments of each kind of action, as the README of the data lists them.
ACTIONS = {
    'click': ('x', 'y'),
    'long_press': ('x', 'y'),
    'scroll': ('direction',),
    'open_app': ('app_name',),
    'type': ('x', 'y', 'text'),
    'input_text': ('text',),
    'navigate_home': (),
    'navigate_back': (),
    'wait': (),
}


class Gold:
    """The exact reward of a step: 1.0 for the action that a person did, else 0.0.

    Attributes:
        steps: {prompt: [(action, clicked element)]}; equal prompts can come from
            several people.
    """

    def __init__(self):
        self.steps: dict[str, list[tuple[Action, Element | None]]] = {}

    def add(self, prompt: str, done: Action, clicked: Element | None) -> None:
        """Records what a person did."""
        self.steps.setdefault(prompt, []).append((done, clicked))

    def right(self, prompt: str, action: Action) -> bool:
        """Whether some person did this action at the prompt."""
        return any(same(action, *step) for step in self.steps[prompt])

    def __call__(self, prompt: str, response: str) -> float:
        try:
            action = json_text.parse(response, unique=False)
        except ValueError:
            return 0.0
        return float(isinstance(action, dict) and self.right(prompt, action))


def parse(content: bytes | str) -> Action:
    """An action with its kind first and only the arguments of this kind.

    Raises:
        ValueError: the action is invalid; the message says why.
    """
    text = content.decode() if isinstance(content, bytes) else content
    action = json_text.parse(text, unique=False)
    if not isinstance(action, dict):
        raise ValueError('an action is not a JSON object')
    kind = action.get('action_type')
    if kind not in ACTIONS:
        raise ValueError(
            f'no action_type {shown(kind)}{near_miss(str(kind)[:40], ACTIONS)}'
        )
    for name in ACTIONS[kind]:
        if not isinstance(action.get(name), int | float if name in 'xy' else str):
            raise ValueError(f'{name!r} of {kind} is {shown(action.get(name))}')
    if kind == 'scroll' and action['direction'] not in DIRECTIONS:
        raise ValueError(f'no direction {shown(action["direction"])}')
    return {'action_type': kind, **{name: action[name] for name in ACTIONS[kind]}}


def write(action: Action) -> str:
    """The action as JSON without spaces."""
    return json.dumps(action, separators=(',', ':'), ensure_ascii=False)


def target(action: Action, screen: list[Element]) -> Element | None:
    """The smallest element at the point of an action, or None."""
    if 'x' not in action:
        return None
    under = [element for element in screen if element.holds(action['x'], action['y'])]
    return min(under, key=lambda element: element.area, default=None)


def same(action: Action, done: Action, clicked: Element | None) -> bool:
    """Whether an action does what a person did: the same kind of action, a point on the
    same element, and the same text, ignoring case."""
    if action.get('action_type') != done['action_type']:
        return False
    names = ACTIONS[done['action_type']]
    if 'x' in names and clicked:
        point = (action.get('x'), action.get('y'))
        if not all(isinstance(at, int | float) for at in point):
            return False
        if not clicked.holds(*point):
            return False
        names = names[2:]
    return all(_plain(action.get(name)) == _plain(done[name]) for name in names)


def draw_wrong(
    done: Action,
    clicked: Element | None,
    screen: list[Element],
    count: int,
    rng: random.Random,
) -> list[Action]:
    """Other actions on a screen: alternately clicks elsewhere and other kinds."""
    elements = [element for element in screen if element.clickable] or screen
    clicks = [
        {'action_type': 'click', 'x': x, 'y': y}
        for x, y in dict.fromkeys(element.middle for element in elements)
    ]
    others = [{'action_type': 'scroll', 'direction': way} for way in DIRECTIONS]
    others += [{'action_type': kind} for kind in ('navigate_back', 'wait')]
    kinds, drawn = rng.sample((clicks, others), 2), []
    for kind in kinds:
        kind[:] = [action for action in kind if not same(action, done, clicked)]
        rng.shuffle(kind)
    while len(drawn) < count and any(kinds):
        kinds = [kind for kind in (*kinds[1:], kinds[0]) if kind]
        drawn.append(kinds[-1].pop())
    return drawn


def _plain(value: object) -> str:
    return str(value).strip().lower()
