"""BOLT English SMS/Chat (LDC2018T19): conversations, and people's summaries of them.

https://catalog.ldc.upenn.edu/LDC2018T19, under a licence of the LDC. The summaries that
PERL used are public nowhere, so their file is named by whoever has one. There are no
comparisons: the reward model is that of TL;DR.
"""

import pathlib
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from perl.data.files import lines
from perl.data.files.excerpts import shown
from perl.data.files.rows import Row, read_rows
from perl.data.records import SPLITS, Dataset, Demonstration, split_of
from perl.data.splits import Groups
from perl.system.errors import UserError

SOURCE = 'https://catalog.ldc.upenn.edu/LDC2018T19'
# Names in the XML: <conversation id><messages><message id date participant><body>.
CONVERSATION, MESSAGE, BODY = 'conversation', 'message', 'body'
ID, PARTICIPANT = 'id', 'participant'
CUE = '\n\nTL;DR:'  # the cue of the posts that its reward model has seen
# 11,932, 1,575 and 500 conversations in PERL, which does not say which.
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
    """Conversations with summaries to imitate, and as prompts.

    Phone numbers become '[phone]' and participants A, B, … in the order in which they
    speak, as the paper redacts numbers and removes names. Both are counted, and so are
    conversations without a summary: those are text to pretrain on and no more.

    Args:
        root: the folder below which the .xml files are, anywhere.
        summaries: a table below `root` with the columns conversation (the id in the
            XML; the name of the file where the XML has none) and summary.
        split: the column of the table that names the split; by the id where there is
            none, in the proportions of the paper.

    Raises:
        UserError: a file is missing or damaged, a summary is of no conversation, or two
            different conversations share an id.
    """
    found = Groups()
    files = lines.find(root, '**/*.xml', source=SOURCE)
    said = _said(files, found)
    unused = dict(said)
    for row in _summaries(pathlib.Path(root) / summaries, split):
        name = row.text('conversation')
        if name not in said:
            raise UserError(
                f'{row.file}, row {row.number}: no .xml file below {root} has the '
                f'conversation {shown(name)}; mend or delete the row'
            )
        unused.pop(name, None)
        prompt, response = said[name] + CUE, f' {row.filled("summary").strip()}'
        place = _split(row, split, name)
        found.add('demonstrations', place, name, Demonstration(prompt, response))
        found.add('prompts', place, name, prompt)
        found.add('text', place, name, prompt + response)
    found.counts['conversations_without_summary'] = len(unused)
    for name, text in unused.items():
        found.add('text', split_of(name, SHARES), name, text)
    return found.dataset('bolt')


def _said(files: list[pathlib.Path], found: Groups) -> dict[str, str]:
    """{id: text} of the conversations; those that are there twice count once."""
    said, places = {}, {}
    for file in files:
        for name, text in _conversations(file, found):
            if said.setdefault(name, text) != text:
                raise UserError(
                    f'{places[name]} and {file} have different conversations '
                    f'{shown(name)}: give one another id, or take it out of data.root'
                )
            found.counts['repeated_conversations_dropped'] += name in places
            places.setdefault(name, file)
    return said


def _summaries(file: pathlib.Path, split: str) -> Iterator[Row]:
    if not file.is_file():
        raise UserError(
            f'no {file}: give a table with the columns conversation and summary below '
            'data.root (--config.data.summaries=FILE); the LDC has none'
        )
    columns = ['conversation', 'summary', split]
    yield from read_rows(file, [column for column in columns if column])


def _split(row: Row, column: str, name: str) -> str:
    if not column:
        return split_of(name, SHARES)
    value = row.text(column)
    if value not in SPLITS:
        raise UserError(
            f'{row.file}, row {row.number}: {column!r} is {shown(value)}, not one of '
            f'{", ".join(SPLITS)}; mend the row'
        )
    return value


def _conversations(file: pathlib.Path, found: Groups) -> Iterator[tuple[str, str]]:
    """(id, text) of those in a file; the empty ones are dropped and counted."""
    try:
        tree = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f'{file} is not XML ({error}): mend it, or get it again from {SOURCE}'
        ) from error
    alone = tree if tree.tag == CONVERSATION else None
    for element in tree.iter(CONVERSATION):
        name = element.get(ID) or (file.stem if element is alone else '')
        if not name:
            raise UserError(f'{file}: a <{CONVERSATION}> has no {ID}; give it one')
        if text := _text(file, element, found):
            yield name, text
        else:
            found.counts['empty_conversations_dropped'] += 1
    if next(tree.iter(CONVERSATION), None) is None:
        raise UserError(f'{file} has no <{CONVERSATION}>: take it out of data.root')


def _text(file: pathlib.Path, conversation: ElementTree.Element, found: Groups) -> str:
    letters, said = {}, []
    for number, message in enumerate(conversation.iter(MESSAGE), 1):
        who, body = message.get(PARTICIPANT), message.find(BODY)
        if who is None or body is None:
            missing = PARTICIPANT if who is None else f'<{BODY}>'
            raise UserError(
                f'{file}, message {number}: it has no {missing}; mend or delete it'
            )
        words = ' '.join(''.join(body.itertext()).split())
        words, phones = _PHONE.subn('[phone]', words)
        found.counts['phone_numbers_redacted'] += phones
        found.counts['empty_messages_dropped'] += not words
        if words:
            said.append(f'{letters.setdefault(who, _letter(len(letters)))}: {words}')
    return '\n'.join(said)


def _letter(place: int) -> str:
    """A to Z, then A1, B1, …"""
    return chr(ord('A') + place % 26) + (str(place // 26) if place >= 26 else '')
