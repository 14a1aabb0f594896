"""What the check shows of an example."""

from perl.data import Comparison, Demonstration, shown
from perl.data.chat import Chat, ChatTokenizer, Template
from perl.data.tokenizers import Bytes

TEMPLATE = Template(
    '{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}'
    '{% if add_generation_prompt %}<s>a:{% endif %}'
)
CHATS = ChatTokenizer(Bytes(), TEMPLATE, (2,))
ASKED = Chat([('user', 'q')])


def test_plain_texts():
    pair = Comparison('abc', (' de', ' f'))
    assert shown.shown(pair, Bytes(), (9, 9)) == '<s>abc\n« de</s>»\n« f</s>»'
    assert shown.shown(pair, Bytes(), (3, 2)) == '<s>bc\n« d»\n« f»'
    assert shown.shown('abc', Bytes(), (9, 9)) == '<s>abc'
    assert shown.document('abc', Bytes(), 9) == '<s>«abc</s>»'


def test_messages():
    turns = Chat([('assistant', 'a'), ('user', 'r</s>'), ('assistant', 'b')])
    seen = shown.shown(Demonstration(ASKED, turns), CHATS, (30, 40))
    assert seen == '<s>u:q</s><s>a:\n«a</s>»<s>u:r</s></s><s>a:«b</s>»'
    assert shown.shown(ASKED, CHATS, (30, 40)) == '<s>u:q</s><s>a:'


def test_a_long_prompt_loses_its_middle():
    seen = shown.shown('a' * 300 + 'b' * 300, Bytes(), (900, 9))
    assert seen == f'<s>{"a" * 197} … {"b" * 200}'


def test_the_first_record_that_is_not_dropped():
    """After more than any number of comparisons whose responses are equal once cut."""
    rows = [Comparison('q', ('long a', 'long b'))] * 150 + [Comparison('q', ('a', 'b'))]
    assert shown.first(rows, Bytes(), (9, 3)) == '<s>q\n«a</s>»\n«b</s>»'
    assert shown.first(['q', 'r'], Bytes(), (9, 3)) == '<s>q'
