"""Elements of an Android screen from its accessibility forest."""

import pytest
from released import field, forest, node

from perl.data.files.protobuf import Damaged
from perl.data.sets.screens import accessibility
from perl.data.sets.screens.accessibility import Element

BOX = (10, 20, 110, 60)


def lines(*nodes):
    return [element.line for element in accessibility.elements(forest(*nodes))]


def test_an_element():
    (found,) = accessibility.elements(forest(node(BOX, ' Save\n it ')))
    assert found == Element('Button', 'Save it', BOX, clickable=True)
    assert found.line == 'Button "Save it" at 60 40'
    assert found.area == 4000
    assert not found.cut and Element('View', 'x' * 61, BOX, True).cut
    assert found.holds(10, 20) and not found.holds(110, 40)


@pytest.mark.parametrize(
    ('made', 'said'),
    [
        (node(BOX, description='photo'), ['Button "photo" at 60 40']),
        (node(BOX, 'text', description='photo'), ['Button "text" at 60 40']),
        (node(BOX), ['Button at 60 40']),
        (node(BOX, kind=''), ['View at 60 40']),
        (node(BOX, 'x' * 99), [f'Button "{"x" * 60}" at 60 40']),
        (node(BOX, 'hidden', seen=False), []),
        (node(BOX, children=[3]), []),
        (
            node(BOX, 'says something', children=[3]),
            ['Button "says something" at 60 40'],
        ),
        (node((10, 20, 10, 60), 'no width'), []),
        (node((-20, 20, 110, 60), 'half out'), ['Button "half out" at 45 40']),
    ],
)
def test_what_is_an_element(made, said):
    assert lines(made) == said


def test_order_is_that_of_reading():
    low, right, left = (0, 500, 10, 600), (50, 0, 60, 10), (0, 0, 10, 10)
    names = lines(node(low, 'c'), node(right, 'b'), node(left, 'a'), node(left, 'a'))
    assert [name.split()[1] for name in names] == ['"a"', '"b"', '"c"']


def test_several_windows():
    both = forest(node(BOX, 'a')) + forest(node(BOX, 'b'))
    assert [x.words for x in accessibility.elements(both)] == ['a', 'b']
    assert accessibility.elements(b'') == []


@pytest.mark.parametrize('content', [b'\x0a\x05oops', field(1, field(11, 3))])
def test_damage(content):
    with pytest.raises(Damaged):
        accessibility.elements(content)
