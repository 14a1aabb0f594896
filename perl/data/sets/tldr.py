"""Reddit TL;DR: posts with summaries by their authors, and human comparisons.

https://github.com/openai/summarize-from-feedback (Stiennon et al. 2020, arXiv
2009.01325). tldr_3_filtered has summaries of 24 to 48 tokens and posts of up to 512
tokens. The summaries of tldr_3_filtered_queries are not filtered, so it is not read.
"""

from collections.abc import Iterator

from perl.data.files import lines
from perl.data.files.lines import Line
from perl.data.records import STRENGTHS, Comparison, Dataset, Demonstration
from perl.data.splits import Groups
from perl.system.errors import UserError

SOURCE = 'https://github.com/openai/summarize-from-feedback (azcopy, see its README)'
HUB_POSTS = (
    'vwxyzjn/summarize_from_feedback_tldr_3_filtered_oai_preprocessing_1706381144'
)
HUB_COMPARISONS = 'openai/summarize_from_feedback'
TEMPLATE = 'SUBREDDIT: r/{}\n\nTITLE: {}\n\nPOST: {}\n\nTL;DR:'
ARTICLE = 'Article:\n{}\n\nTL;DR:\n'
SUP4 = tuple(f'batch{number}' for number in range(3, 11))
SCALES = ('slider', 'sure')
# The paper selected models on valid1 and reports final figures on valid2.
_SPLITS = {'train': 'train', 'valid1': 'val', 'valid2': 'test'}
_POST_FILES = {'train': 'train', 'valid': 'val', 'test': 'test'}


def load(
    root: str = '',
    post_chars: int = 0,
    batches: tuple[str, ...] = (),
    cnndm: bool = False,
    strength: str = '',
    confidence: str = 'slider',
    hub: bool = False,
) -> Dataset:
    """Comparisons of summaries; the authors' summaries as demonstrations; post prompts.

    A post that is in several splits, of posts or comparisons, stays only in the most
    held-out one.

    Args:
        root: the folder with comparisons/*.json and tldr_3_filtered/*.jsonl.
        post_chars: a longer post (or article) is cut at the last newline within this
            many characters, and counted; with 0 only `encode` cuts it, on the left.
        batches: the batches of comparisons to train on, such as `SUP4`; all by default.
        cnndm: whether to read the comparisons on CNN/DM articles too; they are held
            out.
        strength: 'margin' (0 to 1) or 'preference' (1/2 to 1) set this field from the
            worker's confidence, if it is given; '' ignores the confidence.
        confidence: the meaning of the scale from 1 to 9, which is not documented:
            'slider' from the first summary to the second, 'sure' from unsure to sure.
        hub: whether to read copies on the hub instead.

    Raises:
        UserError: a file is missing or damaged, or a row or an option is wrong.
    """
    for name, value, known in (
        ('strength', strength, STRENGTHS),
        ('confidence', confidence, SCALES),
    ):
        if value not in known:
            raise UserError(f'data.{name}: {value!r} is not one of {known}')
    groups = Groups(official=True)
    for split, row in _posts(root, hub):
        prompt = _post(row, post_chars, groups)
        response = f' {row.filled("summary").strip()}'
        _add(groups, split, row, 'demonstrations', Demonstration(prompt, response))
        _add(groups, split, row, 'prompts', prompt)
        _add(groups, split, row, 'text', prompt + response)
    for row in _comparisons(root, hub):
        split = _SPLITS[row.one_of('split', *_SPLITS)]
        article = row.at('info').values['article']
        if article and not cnndm:
            groups.counts['cnndm_skipped'] += 1
        elif split == 'train' and batches and row.filled('batch') not in batches:
            groups.counts['other_batches_dropped'] += 1
        else:
            groups.counts['cnndm_read'] += bool(article)
            _compare(groups, split, row, post_chars, strength, confidence)
    return groups.dataset('tldr')


def _posts(root: str, hub: bool) -> Iterator[tuple[str, Line]]:
    columns = ['id', 'subreddit', 'title', 'post', 'summary']
    for name, split in _POST_FILES.items():
        if hub:
            name = 'validation' if name == 'valid' else name
            rows = lines.read_hub(HUB_POSTS, name, SOURCE)
        else:
            below = f'tldr_3_filtered/{name}.jsonl*'
            file = lines.find(root, below, f'datasets/{below}', source=SOURCE)[0]
            rows = lines.read(file, columns, SOURCE)
        yield from ((split, row) for row in rows)


def _comparisons(root: str, hub: bool) -> Iterator[Line]:
    if hub:
        # The parquet branch, since `datasets` no longer runs the main branch's script.
        for split in ('train', 'validation'):
            files = {split: f'comparisons/{split}/*.parquet'}
            options = {'data_files': files, 'revision': 'refs/convert/parquet'}
            yield from lines.read_hub(HUB_COMPARISONS, split, SOURCE, **options)
        return
    patterns = ('comparisons/*.json*', 'dataset/comparisons/*.json*')
    for file in lines.find(root, *patterns, source=SOURCE):
        yield from lines.read(file, [], SOURCE)


def _compare(
    groups: Groups, split: str, row: Line, chars: int, strength: str, scale: str
) -> None:
    info = row.at('info')
    if info.values['article']:
        prompt = ARTICLE.format(_shortened(info.filled('article'), chars, groups))
    else:
        prompt = _post(info, chars, groups)
    choice = row.one_of('choice', 0, 1)
    texts = [f' {x.filled("text").strip()}' for x in row.each('summaries', 2)]
    if texts[0] == texts[1]:
        groups.counts['identical_pairs_dropped'] += 1
        return
    sure = _sure(row, choice, scale) if strength else None
    fields = {}
    if sure is not None:
        fields = {strength: sure if strength == 'margin' else (1 + sure) / 2}
    fields['tags'] = (('batch', row.filled('batch')),)
    ordered = (texts[choice], texts[1 - choice])
    _add(groups, split, info, 'comparisons', Comparison(prompt, ordered, **fields))


def _sure(row: Line, choice: int, scale: str) -> float | None:
    """The worker's confidence, 0 to 1, or None if the row has none."""
    extra = row.values['extra'] and row.at('extra')
    if not extra or extra.values['confidence'] is None:
        return None
    value = extra.between('confidence', 1, 9)
    if scale == 'sure':
        return (value - 1) / 8
    if (value - 5) * (2 * choice - 1) < 0:
        raise UserError(
            f'{row.file}, {row.place}: confidence {value:.0f} contradicts choice '
            f'{choice} on a slider; give --config.data.confidence=sure'
        )
    return abs(value - 5) / 4


def _post(row: Line, chars: int, groups: Groups) -> str:
    post = _shortened(row.text('post').strip(), chars, groups)
    return TEMPLATE.format(row.filled('subreddit'), row.text('title'), post)


def _shortened(text: str, chars: int, groups: Groups) -> str:
    """Cuts a text at the last newline within `chars` characters, or at `chars`."""
    if not chars or len(text) <= chars:
        return text
    shortened = text[:chars].rpartition('\n')[0].rstrip() or text[:chars]
    groups.counts['posts_cut'] += 1
    groups.counts['post_characters_cut'] += len(text) - len(shortened)
    return shortened


def _add(groups: Groups, split: str, row: Line, kind: str, record: object) -> None:
    groups.add(kind, split, row.filled('id'), record)
