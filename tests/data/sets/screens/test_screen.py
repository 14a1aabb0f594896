"""Screens as text."""

from perl.data.sets.screens import screen
from perl.data.sets.screens.screen import Item


def test_a_screen():
    items = [Item('button', 'save', 5, 10), Item('', '', 50, 60)]
    items.append(Item('view', '', 1, 2))
    assert screen.prompt(items, '  press\nsave ').split('\n') == [
        'instruction: press save',
        'button "save" at 5 10: click(0)',
        '? at 50 60: click(1)',
        'view "" at 1 2: click(2)',
        'instruction: press save',
        'action:',
    ]
