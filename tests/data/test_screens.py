"""Screens as text, and made-up questions whose answers are right."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from perl.data import screens
from perl.data.screens import Item

ITEMS = st.lists(
    st.builds(
        Item,
        kind=st.sampled_from(('', 'text view', 'button')),
        words=st.sampled_from(('', 'save', 'open', 'close')),
        x=st.integers(0, 99),
        y=st.integers(0, 99),
    ),
    min_size=1,
    max_size=12,
)


def test_a_screen():
    items = [
        Item('button', 'save', 5, 10),
        Item('', '', 50, 60),
        Item('view', '', 1, 2),
    ]
    assert screens.show(items) == (
        'button "save" at 5 10: 0\n? at 50 60: 1\nview "" at 1 2: 2'
    )
    assert screens.ask('  press\nsave ') == 'instruction: press save\naction:'
    assert screens.click(3) == ' click(3)'


@given(ITEMS, st.integers(0, 10**6))
def test_every_question_of_a_drill_has_the_one_right_answer(items, seed):
    text = screens.drill(items, random.Random(seed), size=8)
    shown = re.findall(r'^(?:(.+) "(.*)"|\?) at \d+ \d+: (\d+)$', text, re.M)
    assert [int(number) for *_, number in shown] == list(range(min(8, len(items))))
    asked = re.findall(r'^instruction: (.+)\naction: click\((\d+)\)$', text, re.M)
    assert len(asked) <= 4
    for instruction, answer in asked:
        kind, words, _ = shown[int(answer)]
        alike = [number for k, _, number in shown if k == kind]
        if placed := re.search(r'the (first|last) (text view|button)$', instruction):
            assert placed[2] == kind and len(alike) > 1
            assert answer == alike[0 if placed[1] == 'first' else -1]
        else:
            assert words in instruction
            assert [w for _, w, _ in shown].count(words) == 1


def test_described_elements_come_first():
    items = [Item('', '', n, n) for n in range(9)] + [Item('button', 'save', 1, 99)]
    for seed in range(9):
        text = screens.drill(items, random.Random(seed), size=4)
        assert text.count('? at') == 3 and 'button "save" at 1 99: 3' in text
