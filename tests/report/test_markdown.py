import re

import pytest

from perl.report import markdown
from perl.report.markdown import Table

BREAKS = ['\n', '\r', '\r\n', '\r\r', '\v', '\f', '\x1c', '\x85', '\u2028', '\u2029']


@pytest.mark.parametrize('end', BREAKS)
@pytest.mark.parametrize('mark', ['# WIN RATE 100 %', '| a | b |', '---', '- x', '> y'])
def test_no_line_of_a_text_becomes_a_line_of_the_page(end, mark):
    cell = markdown.cell(f'a{end}{mark}', 320)
    assert len(cell.splitlines()) == 1
    assert cell.startswith('a<br>')
    assert not re.search(r'(?<!\\)[|#]', cell)


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('<script>x</script>', '&lt;script&gt;x&lt;/script&gt;'),
        ('&lt;', '&amp;lt;'),
        ('`a` *b* _c_ ~~d~~', r'\`a\` \*b\* \_c\_ \~\~d\~\~'),
        ('![a](b)', r'!\[a\](b)'),
        ('$x$ @you #1', r'\$x\$ \@you \#1'),
        ('\\', '\\\\'),
        ('http://a.b', 'http:&#47;/a.b'),
        ('WWW.a.b', 'WWW&#46;a.b'),
        ('reward_full', 'reward_full'),
        ('a\tb', 'a b'),
        ('\u202eabc\u2066', '⟨U+202E⟩abc⟨U+2066⟩'),
        ('\x1b[31m\x00', '⟨U+001B⟩\\[31m⟨U+0000⟩'),
        ('a\u200bb\ufeff', 'a⟨U+200B⟩b⟨U+FEFF⟩'),
        ('\ud800', '⟨U+D800⟩'),
        ('می\u200cخواهم', 'می\u200cخواهم'),
        ('猫 🙂 é', '猫 🙂 é'),
    ],
)
def test_a_text_is_inert(text, shown):
    assert markdown.inert(text) == shown
    assert markdown.cell(text, 99) == shown


def test_a_long_text_ends_as_it_ends():
    assert markdown.cell('a' * 9 + 'b', 4) == '…aaab'
    assert markdown.cell(None, 4) == '' and markdown.cell('a\n', 4) == 'a'


def test_a_table_leaves_out_what_is_empty():
    table = Table('t', ('x', 'y', 'z'), [['a', '', '1'], ['b', '', '']])
    assert table.markdown().splitlines() == [
        '| x | z |',
        '| :-- | :-- |',
        '| a | 1 |',
        '| b | – |',
    ]
    assert table.across().rows == [('z', '1', '')]
