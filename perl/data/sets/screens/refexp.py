"""UIBert RefExp: find the element of a phone's screen that an instruction refers to.

https://github.com/google-research-datasets/uibert, CC BY 4.0 (Bai et al. 2021, arXiv
2107.13731), on screens of Rico. It replaces the UI automation data of the paper: the
response is an action, `click(7)`, and the right action is known exactly.

    instruction: click on the search icon
    image button "search" at 81 7: click(0)
    text view "popular" at 38 15: click(1)
    ? at 50 96: click(2)
    instruction: click on the search icon
    action: click(0)

Elements are numbered in reading order; the two numbers are their middle in hundredths
of the screen. About a quarter of the elements match a leaf of the view hierarchy, which
describes them.
"""

import random
import re
from collections.abc import Iterator

import numpy as np

from perl.data.files import features, lines
from perl.data.files.features import Features
from perl.data.records import Dataset
from perl.data.sets.screens import choice
from perl.data.sets.screens import screen as screens
from perl.data.sets.screens.screen import Item
from perl.data.splits import Groups, split_of
from perl.system.errors import UserError

SOURCE = 'https://github.com/google-research-datasets/uibert'
OVERLAP = 0.5  # intersection over union at which a leaf describes an element
TEXT_CHARS = 60
_SPLITS = {'train': 'train', 'dev': 'val', 'test': 'test'}
_ID, _TEXT = 'image/id', 'image/ref_exp/text'
_LABEL = 'image/ref_exp/label'
_SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
_ELEMENTS = [f'image/object/bbox/{side}' for side in _SIDES]
_LEAVES = [f'image/view_hierarchy/bbox/{side}' for side in _SIDES]
_WORDS = [
    f'image/view_hierarchy/{name}'
    for name in ('class/name', 'text', 'description', 'id/name')
]
_CLICK = re.compile(r'\s*click\((\d{1,4})\)\s*')


class Gold:
    """The exact reward: 1.0 for a click on the right element, else 0.0."""

    def __init__(self):
        self.labels: dict[str, int] = {}

    def __call__(self, prompt: str, response: str) -> float:
        match = _CLICK.fullmatch(response)
        return float(bool(match) and int(match[1]) == self.labels[prompt])


def load(
    root: str = '',
    no_train: bool = False,
    negatives: int = 3,
    seed: int = 0,
) -> Dataset:
    """Clicks as demonstrations, comparisons of right and wrong ones, screen prompts.

    Wrong clicks are drawn at random, not human, and uniformly from all other elements.
    Most of these have no description, but the right one usually does, so a model can
    often guess it without the instruction.

    Args:
        root: the folder that contains ref_exp/{train,dev,test}.tfrecord.
        no_train: whether there is no train file; a tenth of dev is then 'val' and the
            rest 'train'.
        negatives: number of wrong clicks per screen, each a comparison and a rating of
            0.
        seed: the seed of the wrong clicks.

    Raises:
        UserError: a file is missing or damaged, or a record has another form.
    """
    groups, gold = Groups(official=not no_train), Gold()
    for name, split in _SPLITS.items():
        if name == 'train' and no_train:
            continue
        for record in _records(root, name):
            screen = record.text(_ID)
            if no_train and name == 'dev':
                split = split_of(screen, (9, 1, 0))
            items, label = _screen(record, groups)
            prompt = screens.prompt(items, record.text(_TEXT))
            gold.labels[prompt] = label
            others = [number for number in range(len(items)) if number != label]
            rng = random.Random(f'{seed} {screen}')
            wrong = rng.sample(others, min(negatives, len(others)))
            right, *others = map(screens.click, (label, *wrong))
            choice.add(groups, split, screen, prompt, right, others)
    return groups.dataset('refexp', gold)


def _records(root: str, name: str) -> Iterator[Features]:
    try:
        files = lines.find(
            root, f'ref_exp/{name}.tfrecord', f'{name}.tfrecord', source=SOURCE
        )
    except UserError as error:
        if name != 'train' or not str(root):
            raise
        raise UserError(
            f'{error}; with only dev and test give --config.data.no_train=True'
        ) from None
    names = {_ID, _TEXT, _LABEL, *_ELEMENTS, *_LEAVES, *_WORDS}
    yield from features.read(files[0], names, SOURCE)


def _screen(record: Features, groups: Groups) -> tuple[list[Item], int]:
    """The elements in reading order, and the number of the right one."""
    boxes, leaves = (_boxes(record, names) for names in (_ELEMENTS, _LEAVES))
    label = record.integer(_LABEL)
    if not 0 <= label < len(boxes):
        raise record.bad(f'{_LABEL} is {label}, of {len(boxes)} elements')
    words = _leaf_words(record, len(leaves), groups)
    described = [
        words[leaf] if leaf >= 0 else ('', '') for leaf in _matching(boxes, leaves)
    ]
    groups.counts['targets_undescribed'] += not described[label][0]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    order = np.lexsort((middle[:, 0], np.round(middle[:, 1] * 50)))
    places = np.clip(middle * 100, 0, 99).astype(int)
    items = [Item(*described[element], *map(int, places[element])) for element in order]
    return items, int(np.flatnonzero(order == label)[0])


def _matching(boxes: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """The leaf that overlaps most with each element, or -1 if below `OVERLAP`."""
    if not len(leaves):
        return np.full(len(boxes), -1)
    low = np.maximum(boxes[:, None, :2], leaves[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], leaves[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (boxes, leaves)]
    union = areas[0][:, None] + areas[1] - common
    overlap = common / np.maximum(union, 1e-12)
    return np.where(overlap.max(1) >= OVERLAP, overlap.argmax(1), -1)


def _leaf_words(record: Features, count: int, groups: Groups) -> list[tuple[str, str]]:
    """Each leaf's class, and its text, description or id (the first that it has)."""
    columns = [record.texts(name) for name in _WORDS]
    if any(len(column) != count for column in columns):
        raise record.bad(f'it has {count} leaves but not as many {", ".join(_WORDS)}')
    rows = []
    for texts in zip(*columns, strict=True):
        kind, *words = (' '.join(x.split()) for x in texts)
        text = next(filter(None, words), '')
        groups.counts['leaf_texts_cut'] += len(text) > TEXT_CHARS
        rows.append((kind.lower().replace('_', ' ') or 'view', text[:TEXT_CHARS]))
    return rows


def _boxes(record: Features, names: list[str]) -> np.ndarray:
    """float64 `[n, 4]`: left, top, right and bottom of each box."""
    columns = [record.numbers(name) for name in names]
    if len(set(map(len, columns))) != 1:
        raise record.bad(f'{", ".join(names)} do not have the same length')
    return np.array(columns, float).T.reshape(-1, 4)
