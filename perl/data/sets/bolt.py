"""BOLT English SMS/Chat (LDC2018T19): conversations and summaries by people.

https://catalog.ldc.upenn.edu/LDC2018T19, under a licence of the LDC. The summaries that
PERL used are not public, so the user must provide a file of summaries. There are no
comparisons: use the reward model of TL;DR.
"""

import pathlib
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from perl.data.files import lines
from perl.data.files.excerpts import shown
from perl.data.files.rows import Row, read_rows
from perl.data.records import SPLITS, Dataset, Demonstration
from perl.data.splits import Groups, split_of
from perl.system.errors import UserError

SOURCE = 'https://catalog.ldc.upenn.edu/LDC2018T19'
# Names in the XML: <conversation id><messages><message id date participant><body>.
CONVERSATION, MESSAGE, BODY = 'conversation', 'message', 'body'
ID, PARTICIPANT = 'id', 'participant'
CUE = '\n\nTL;DR:'  # the cue of the posts on which its reward model was trained
# PERL has 11,932, 1,575 and 500 conversations, but does not list them.
SHARES = (85, 11, 4)
_PHONE = re.compile(
    r"""
    (?<!\d)(?<!\d[-–—.,])                                        # no part of a number
    (?!(?:19|20)\d\d(?:(?:\s?[-–—]\s?|\s)(?:19|20)\d\d)+(?!\d))  # nor several years
    (?!(?:19|20)\d\d[-.]\d\d?[-.]\d\d?(?!\d))                    # nor a date,
    (?!\d\d?[-.]\d\d?[-.](?:19|20)\d\d(?!\d))                    # in either order,
    (?!\d\d?\.\d{5,9}(?!\d|[-–—.]\d))                            # nor a decimal, but
    \+?(?:\(\d{1,4}\)|\d)                                        # 7 to 14 digits
    (?:(?:[\s.–—-]|\s[-–—]\s(?=\(?\d{3}))?\(?\d\)?){6,13}
    (?!\d)
    """,
    re.VERBOSE,
)


def load(
    root: str = '', summaries: str = 'summaries.jsonl', split: str = ''
) -> Dataset:
    """Conversations with summaries as demonstrations, and conversations as prompts.

    Phone numbers become '[phone]', and participants become A, B, … in the order in
    which they speak, as the paper redacts numbers and removes names. Phone numbers are
    counted. So are conversations without a summary; they are only text to pretrain on.

    Args:
        root: a folder with the .xml files at any depth.
        summaries: a table below `root` with the columns conversation (the id in the
            XML, or the name of the file if the XML has no id) and summary.
        split: the column of the table with the split; without it, the split depends on
            the id, in the proportions of the paper.

    Raises:
        UserError: a file is missing or damaged, a summary has no conversation, or two
            different conversations have the same id.
    """
    groups = Groups()
    files = lines.find(root, '**/*.xml', source=SOURCE)
    conversations = _read_conversations(files, groups)
    unused = dict(conversations)
    for row in _summaries(pathlib.Path(root) / summaries, split):
        name = row.text('conversation')
        if name not in conversations:
            raise UserError(
                f'{row.file}, {row.place}: no .xml file below {root} has the '
                f'conversation {shown(name)}; fix or delete the row'
            )
        unused.pop(name, None)
        prompt = conversations[name] + CUE
        response = f' {row.filled("summary").strip()}'
        place = _split(row, split, name)
        groups.add('demonstrations', place, name, Demonstration(prompt, response))
        groups.add('prompts', place, name, prompt)
        groups.add('text', place, name, prompt + response)
    groups.counts['conversations_without_summary'] = len(unused)
    for name, text in unused.items():
        groups.add('text', split_of(name, SHARES), name, text)
    return groups.dataset('bolt')


def _read_conversations(files: list[pathlib.Path], groups: Groups) -> dict[str, str]:
    """{id: text} of the conversations; a repeated conversation counts once."""
    texts, places = {}, {}
    for file in files:
        for name, text in _conversations(file, groups):
            if texts.setdefault(name, text) != text:
                raise UserError(
                    f'{places[name]} and {file} have different conversations '
                    f'{shown(name)}; change one id, or remove one file from data.root'
                )
            groups.counts['repeated_conversations_dropped'] += name in places
            places.setdefault(name, file)
    return texts


def _summaries(file: pathlib.Path, split: str) -> Iterator[Row]:
    if not file.is_file():
        raise UserError(
            f'no {file}: put a table with the columns conversation and summary below '
            'data.root (--config.data.summaries=FILE); the LDC does not provide one'
        )
    columns = ['conversation', 'summary', split]
    yield from read_rows(file, [column for column in columns if column])


def _split(row: Row, column: str, name: str) -> str:
    if not column:
        return split_of(name, SHARES)
    value = row.text(column)
    if value not in SPLITS:
        raise UserError(
            f'{row.file}, {row.place}: {column!r} is {shown(value)}, not one of '
            f'{", ".join(SPLITS)}; fix the row'
        )
    return value


def _conversations(file: pathlib.Path, groups: Groups) -> Iterator[tuple[str, str]]:
    """(id, text) of the conversations in a file; empty ones are dropped and counted."""
    try:
        tree = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f'{file} is not XML ({error}); fix it, or get it again from {SOURCE}'
        ) from error
    root = tree if tree.tag == CONVERSATION else None
    for element in tree.iter(CONVERSATION):
        name = element.get(ID) or (file.stem if element is root else '')
        if not name:
            raise UserError(f'{file}: a <{CONVERSATION}> has no {ID}; give it one')
        if text := _text(file, element, groups):
            yield name, text
        else:
            groups.counts['empty_conversations_dropped'] += 1
    if next(tree.iter(CONVERSATION), None) is None:
        raise UserError(f'{file} has no <{CONVERSATION}>; remove it from data.root')


def _text(file: pathlib.Path, conversation: ElementTree.Element, groups: Groups) -> str:
    letters, rows = {}, []
    for number, message in enumerate(conversation.iter(MESSAGE), 1):
        who, body = message.get(PARTICIPANT), message.find(BODY)
        if who is None or body is None:
            missing = PARTICIPANT if who is None else f'<{BODY}>'
            raise UserError(
                f'{file}, message {number}: it has no {missing}; fix or delete it'
            )
        words = ' '.join(''.join(body.itertext()).split())
        words, phones = _PHONE.subn('[phone]', words)
        groups.counts['phone_numbers_redacted'] += phones
        groups.counts['empty_messages_dropped'] += not words
        if words:
            rows.append(f'{letters.setdefault(who, _letter(len(letters)))}: {words}')
    return '\n'.join(rows)


def _letter(place: int) -> str:
    """A to Z, then A1, B1, …"""
    return chr(ord('A') + place % 26) + (str(place // 26) if place >= 26 else '')
