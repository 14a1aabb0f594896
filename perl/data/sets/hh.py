"""Anthropic HH: dialogs whose last answer was preferred, for harm and for help.

https://github.com/anthropics/hh-rlhf, MIT (Bai et al. 2022, arXiv 2204.05862). A row is
{"chosen", "rejected"}: two dialogs, '\\n\\nHuman: …\\n\\nAssistant: …', that differ
in the last answer. The content is offensive by design.
"""

from collections.abc import Iterator

from perl.data.files import lines
from perl.data.files.lines import Line
from perl.data.records import Comparison, Dataset, Demonstration, split_of
from perl.data.splits import Groups
from perl.system.errors import UserError

SOURCE = 'https://github.com/anthropics/hh-rlhf'
HUB = 'Anthropic/hh-rlhf'
CUE = '\n\nAssistant:'
HELPFUL = ('helpful-base', 'helpful-rejection-sampled', 'helpful-online')


def load_harmlessness(
    root: str = '', test_only: bool = False, hub: bool = False
) -> Dataset:
    """Comparisons of harmless-base; the preferred answers to imitate; the prompts.

    There is no official validation split: two thirds of the test file are 'val', as in
    RLAIF (arXiv 2309.00267). Rows whose prompts differ, with an empty answer or with
    twice the same are dropped and counted.

    Args:
        root: the folder that holds harmless-base/{train,test}.jsonl.gz.
        test_only: there is no train file; split the test file 8 to 1 to 1. Dialogs that
            begin with the same words of the human share a split.
        hub: read it from the hub instead.

    Raises:
        UserError: a file is missing or damaged, or a row is no such dialog.
    """
    return _load('harmlessness', root, ('harmless-base',), test_only, hub)


def load_helpfulness(
    root: str = '',
    parts: tuple[str, ...] = HELPFUL[:1],
    test_only: bool = False,
    hub: bool = False,
) -> Dataset:
    """The same of helpful-base, or of several `parts` (out of `HELPFUL`)."""
    for part in parts:
        if part not in HELPFUL:
            raise UserError(f'data.parts: {part!r} is not one of {", ".join(HELPFUL)}')
    return _load('helpfulness', root, parts, test_only, hub)


def first_human(prompt: str) -> str:
    """What the human said first: dialogs of one conversation share it."""
    return prompt.removeprefix('\n\nHuman:').partition(CUE)[0].strip()


def _load(name, root, parts, test_only, hub):
    found = Groups()
    for part in parts:
        for split in ('test',) if test_only else ('train', 'test'):
            for row in _rows(root, part, split, hub):
                tags = (('part', part),) if len(parts) > 1 else ()
                _add(found, row, split, test_only, tags)
    return found.dataset(name)


def _rows(root: str, part: str, split: str, hub: bool) -> Iterator[Line]:
    if hub:
        yield from lines.read_hub(HUB, split, SOURCE, data_dir=part)
        return
    try:
        files = lines.find(root, f'{part}/{split}.jsonl*', source=SOURCE)
    except UserError as error:
        if split == 'test' or not str(root):
            raise
        raise UserError(
            f'{error}; with the test file alone give --config.data.test_only=True'
        ) from None
    yield from lines.read(files[0], ['chosen', 'rejected'], SOURCE)


def _add(found: Groups, row: Line, split: str, test_only: bool, tags: tuple) -> None:
    (prompt, chosen), (other, rejected) = (
        _cut(row, column) for column in ('chosen', 'rejected')
    )
    if prompt != other:
        found.counts['different_prompts_dropped'] += 1
        return
    if not chosen.strip() or not rejected.strip():
        found.counts['empty_responses_dropped'] += 1
        return
    if chosen.strip() == rejected.strip():
        found.counts['identical_pairs_dropped'] += 1
        return
    group = prompt
    if test_only:
        group = first_human(prompt)
        split = split_of(group)
    elif split == 'test':
        split = split_of(group, (0, 2, 1))
    pair = Comparison(prompt, (chosen, rejected), tags=tags)
    found.add('comparisons', split, group, pair)
    found.add('demonstrations', split, group, Demonstration(prompt, chosen))
    found.add('prompts', split, group, prompt)
    found.add('text', split, group, prompt + chosen)


def _cut(row: Line, column: str) -> tuple[str, str]:
    """The prompt up to the last answer, and the answer."""
    before, cue, answer = row.text(column).rpartition(CUE)
    if not cue:
        raise row.bad(column, f'has no {CUE.strip()!r}')
    return before + cue, answer
