"""Stanford Human Preferences: two comments on a Reddit post, the preferred one first.

https://huggingface.co/datasets/stanfordnlp/SHP (Ethayarajh et al. 2022). The official
splits are by post. The preferred comment has more votes although it is not the earlier
one, so that its votes are not due to more time.
"""

import collections
import math
import pathlib
from collections.abc import Iterator

from perl.data.files import lines
from perl.data.files.excerpts import shown
from perl.data.files.lines import Line
from perl.data.records import STRENGTHS, Comparison, Dataset, Demonstration
from perl.data.splits import Groups
from perl.system.errors import UserError
from perl.system.suggest import near_miss

SOURCE = 'https://huggingface.co/datasets/stanfordnlp/SHP'
HUB = 'stanfordnlp/SHP'
DOMAINS = (
    *('askacademia', 'askanthropology', 'askbaking', 'askcarguys', 'askculinary'),
    *('askdocs', 'askengineers', 'askhistorians', 'askhr', 'askphilosophy'),
    *('askphysics', 'askscience', 'asksciencefiction', 'asksocialscience', 'askvet'),
    *('changemyview', 'explainlikeimfive', 'legaladvice'),
)
SPLIT_FILES = {'train': 'train', 'val': 'validation', 'test': 'test'}
_COLUMNS = [
    *('post_id', 'domain', 'history', 'human_ref_A', 'human_ref_B', 'labels'),
    'score_ratio',
]


def load(
    root: str = '',
    domains: tuple[str, ...] = (),
    min_score_ratio: float = 0.0,
    max_pairs_per_post: int = 0,
    strength: str = '',
    hub: bool = False,
) -> Dataset:
    """Comparisons of comments; preferred ones as demonstrations; posts as prompts.

    Args:
        root: the folder with {train,validation,test}.json, or with one folder of these
            files per domain.
        domains: some of `DOMAINS`; all by default. Each must exist.
        min_score_ratio: the least ratio of the votes of the better comment to those of
            the other; pairs of 'train' below it are dropped and counted. The data card
            advises 2, PERL has 0.
        max_pairs_per_post: the most pairs of a post of 'train'; further pairs are
            dropped and counted. 0 keeps all. The data card advises 5.
        strength: 'margin' sets the margin to log(ratio), 'preference' sets the
            preference to ratio / (1 + ratio), which has the same log-odds; '' sets
            neither.
        hub: whether to read from the hub instead.

    Raises:
        UserError: a file is missing or damaged, or a row or an option is wrong.
    """
    for domain in domains:
        if domain not in DOMAINS:
            raise UserError(f'data.domains: {domain!r}{near_miss(domain, DOMAINS)}')
    if strength not in STRENGTHS:
        raise UserError(f'data.strength: {strength!r} is not margin, preference or ""')
    groups, missing = Groups(official=True), set(domains)
    for split, name in SPLIT_FILES.items():
        pairs_of_post = collections.Counter()
        for row in _rows(root, name, domains, hub):
            missing.discard(_domain(row))
            post, ratio = row.filled('post_id'), row.between('score_ratio', 1, 1e9)
            if split == 'train' and ratio < min_score_ratio:
                groups.counts['low_score_ratio_dropped'] += 1
            elif split == 'train' and 0 < max_pairs_per_post <= pairs_of_post[post]:
                groups.counts['pairs_over_limit_dropped'] += 1
            else:
                pairs_of_post[post] += 1
                _add(groups, split, post, row, _strength(strength, ratio))
    if missing:
        raise UserError(
            f'data.domains: no row has {", ".join(sorted(missing))}; leave it out '
            f'or get the files again from {SOURCE}'
        )
    return groups.dataset('shp')


def _rows(root: str, name: str, domains: tuple[str, ...], hub: bool) -> Iterator[Line]:
    local = _local(root, name, domains)
    for row in lines.read_hub(HUB, name, SOURCE) if hub else local:
        domain = _domain(row)
        if domain not in DOMAINS:
            raise row.bad('domain', f'is {shown(domain)}, not one of the 18')
        if not domains or domain in domains:
            yield row


def _local(root: str, name: str, domains: tuple[str, ...]) -> Iterator[Line]:
    folders = {
        file.parent.name
        for other in SPLIT_FILES.values()
        for file in pathlib.Path(root).glob(f'*/{other}.json')
    }
    if folders:
        patterns = [[f'{domain}/{name}.json'] for domain in sorted(domains or folders)]
    else:
        patterns = [[f'{name}.{kind}' for kind in ('json', 'jsonl*', 'parquet')]]
    for places in patterns:
        for file in lines.find(root, *places, source=SOURCE):
            yield from lines.read(file, _COLUMNS, SOURCE)


def _domain(row: Line) -> str:
    """The domain without the split that the released field has: 'askbaking_train'."""
    return row.filled('domain').partition('_')[0]


def _strength(kind: str, ratio: float) -> dict[str, float]:
    if kind == 'margin':
        return {'margin': math.log(ratio)}
    return {'preference': ratio / (1 + ratio)} if kind == 'preference' else {}


def _add(
    groups: Groups, split: str, post: str, row: Line, strength: dict[str, float]
) -> None:
    prompt = f'POST: {row.filled("history").strip()}\n\nRESPONSE:'
    texts = [f' {row.filled(f"human_ref_{side}").strip()}' for side in 'AB']
    better, worse = texts if row.one_of('labels', 0, 1) else reversed(texts)
    if better == worse:
        groups.counts['identical_pairs_dropped'] += 1
        return
    tags = (('domain', _domain(row)),)
    pair = Comparison(prompt, (better, worse), **strength, tags=tags)
    groups.add('comparisons', split, post, pair)
    groups.add('demonstrations', split, post, Demonstration(prompt, better))
    groups.add('prompts', split, post, prompt)
    groups.add('text', split, post, prompt + better)
