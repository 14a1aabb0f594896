"""Anthropic HH: comparisons of dialogs by harmlessness and by helpfulness.

https://github.com/anthropics/hh-rlhf, MIT (Bai et al. 2022, arXiv 2204.05862). A row is
{"chosen", "rejected"}: two dialogs, '\\n\\nHuman: …\\n\\nAssistant: …', that differ
only in the last answer. The content is offensive by design.
"""

from collections.abc import Iterator

from perl.data.files import lines
from perl.data.files.lines import Line
from perl.data.records import Comparison, Dataset, Demonstration
from perl.data.splits import Groups, split_of
from perl.system.errors import UserError

SOURCE = 'https://github.com/anthropics/hh-rlhf'
HUB = 'Anthropic/hh-rlhf'
CUE = '\n\nAssistant:'
HELPFUL = ('helpful-base', 'helpful-rejection-sampled', 'helpful-online')


def load_harmlessness(
    root: str = '', test_only: bool = False, hub: bool = False
) -> Dataset:
    """Comparisons of harmless-base; preferred answers as demonstrations; prompts.

    There is no official validation split: two thirds of the test file are 'val', as in
    RLAIF (arXiv 2309.00267). A row is dropped and counted if its two prompts differ, an
    answer is empty, or both answers are equal.

    Args:
        root: the folder that contains harmless-base/{train,test}.jsonl.gz.
        test_only: whether there is no train file; the test file is then split 8:1:1.
            Dialogs with the same first human turn are in the same split.
        hub: whether to read from the hub instead.

    Raises:
        UserError: a file is missing or damaged, or a row is not such a dialog.
    """
    return _load('harmlessness', root, ('harmless-base',), test_only, hub)


def load_helpfulness(
    root: str = '',
    parts: tuple[str, ...] = HELPFUL[:1],
    test_only: bool = False,
    hub: bool = False,
) -> Dataset:
    """As `load_harmlessness`, for helpful-base or several `parts` of `HELPFUL`."""
    for part in parts:
        if part not in HELPFUL:
            raise UserError(f'data.parts: {part!r} is not one of {", ".join(HELPFUL)}')
    return _load('helpfulness', root, parts, test_only, hub)


def first_human(prompt: str) -> str:
    """The first human turn; dialogs of one conversation share it."""
    return prompt.removeprefix('\n\nHuman:').partition(CUE)[0].strip()


def _load(name, root, parts, test_only, hub):
    groups = Groups()
    for part in parts:
        for split in ('test',) if test_only else ('train', 'test'):
            for row in _rows(root, part, split, hub):
                tags = (('part', part),) if len(parts) > 1 else ()
                _add(groups, row, split, test_only, tags)
    return groups.dataset(name)


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
            f'{error}; with only the test file give --config.data.test_only=True'
        ) from None
    yield from lines.read(files[0], ['chosen', 'rejected'], SOURCE)


def _add(groups: Groups, row: Line, split: str, test_only: bool, tags: tuple) -> None:
    (prompt, chosen), (other, rejected) = (
        _cut(row, column) for column in ('chosen', 'rejected')
    )
    if prompt != other:
        groups.counts['different_prompts_dropped'] += 1
        return
    if not chosen.strip() or not rejected.strip():
        groups.counts['empty_responses_dropped'] += 1
        return
    if chosen.strip() == rejected.strip():
        groups.counts['identical_pairs_dropped'] += 1
        return
    group = prompt
    if test_only:
        group = first_human(prompt)
        split = split_of(group)
    elif split == 'test':
        split = split_of(group, (0, 2, 1))
    pair = Comparison(prompt, (chosen, rejected), tags=tags)
    groups.add('comparisons', split, group, pair)
    groups.add('demonstrations', split, group, Demonstration(prompt, chosen))
    groups.add('prompts', split, group, prompt)
    groups.add('text', split, group, prompt + chosen)


def _cut(row: Line, column: str) -> tuple[str, str]:
    """The dialog up to the last answer, and the last answer."""
    before, cue, answer = row.text(column).rpartition(CUE)
    if not cue:
        raise row.bad(column, f'has no {CUE.strip()!r}')
    return before + cue, answer
