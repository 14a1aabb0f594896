"""Records from people's own files: JSON, JSON lines, CSV, TSV and Parquet.

`tables` reads them (no loading scripts, no network); what is here maps their rows to
records and says which row of which file is wrong.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

from perl.data.files.rows import Row, read_rows
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    Record,
    split_of,
)
from perl.system.errors import UserError
from perl.system.suggest import near_miss

Path = str | pathlib.Path

FIELDS = {
    'text': ('text',),
    'demonstrations': ('prompt', 'response'),
    'comparisons': ('prompt', 'chosen', 'rejected', 'completions'),
    'ratings': ('prompt', 'response', 'label'),
    'prompts': ('prompt',),
}
# of the settings of a source
_TYPES = {
    'path': (str, pathlib.Path, Mapping),
    'columns': (Mapping,),
    'group': (str, type(None)),
    'prompt': (str,),
    'response': (str,),
}
# read where a file has them
OPTIONAL = {'comparisons': ('margin', 'preference')}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the records of one kind are.

    Attributes:
        kind: 'text', 'demonstrations', 'comparisons', 'ratings' or 'prompts'.
        path: one file, or {split: file} where the splits are made already.
        columns: {field: column} where they differ. The fields by kind are text; prompt,
            response; prompt, chosen, rejected (or completions, a list with the best
            first), and margin and preference if there are such columns; prompt,
            response, label; prompt.
        group: the column that decides the split of a row of a single file, so that rows
            that share it stay together; the prompt or text where none is named.
        prompt, response: templates that the texts are put in, such as
            'Q: {prompt}\\nA:' and ' {response}'.
    """

    kind: str
    path: Path | Mapping[str, Path]
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    group: str | None = None
    prompt: str = '{prompt}'
    response: str = '{response}'

    def __post_init__(self):
        for setting, kinds in _TYPES.items():
            value = getattr(self, setting)
            if not isinstance(value, kinds):
                names = ' or '.join(kind.__name__ for kind in kinds)
                raise UserError(f'{self.kind}.{setting}: {value!r:.40} is no {names}')
        for field, column in self.columns.items():
            if not isinstance(column, str):
                raise UserError(f'{self.kind}.columns: {column!r:.40} is no name')
            known = (*FIELDS[self.kind], *OPTIONAL.get(self.kind, ()))
            if field not in known:
                hint = near_miss(field, known)
                raise UserError(f'{self.kind} have no field {field!r}{hint}')
        for field in ('prompt', 'response'):
            if '{' + field + '}' not in getattr(self, field):
                raise UserError(f'{self.kind}: the {field} template lacks {{{field}}}')

    @property
    def fields(self) -> dict[str, str]:
        """{field: column} of the fields that are needed."""
        left_out = ('completions',) if self.kind == 'comparisons' else ()
        if 'completions' in self.columns:
            left_out = ('chosen', 'rejected')
        named = [field for field in self.optional if field in self.columns]
        return {
            field: self.columns.get(field, field)
            for field in (*FIELDS[self.kind], *named)
            if field not in left_out
        }

    @property
    def optional(self) -> dict[str, str]:
        """{field: column} of the fields that may be missing, unless they are named."""
        fields = OPTIONAL.get(self.kind, ())
        return {field: self.columns.get(field, field) for field in fields}


def load(
    text: Path | Mapping | None = None,
    demonstrations: Path | Mapping | None = None,
    comparisons: Path | Mapping | None = None,
    ratings: Path | Mapping | None = None,
    prompts: Path | Mapping | None = None,
    shares: tuple[int, int, int] = (8, 1, 1),
    cache: Path | None = None,
) -> Dataset:
    """A data set of local files.

    Args:
        text, demonstrations, comparisons, ratings, prompts: a path, or a mapping with
            the settings of a `Source` (path, columns, group, prompt, response).
        shares: of train, val and test, as in `split_of`.
        cache: a folder for the Arrow copies of Parquet; without one they are thrown
            away.

    Raises:
        UserError: a file, setting, column, row or value that is missing or wrong.
    """
    given = {
        'text': text,
        'demonstrations': demonstrations,
        'comparisons': comparisons,
        'ratings': ratings,
        'prompts': prompts,
    }
    if all(source is None for source in given.values()):
        raise UserError(f"data set 'files': name a file for one of {', '.join(given)}")
    whole = all(isinstance(share, int) and share >= 0 for share in shares)
    if len(shares) != len(SPLITS) or not whole or not sum(shares):
        raise UserError(
            f'shares: {tuple(shares)} are not three whole numbers, of train, val and '
            'test; for eight, one and one in ten give (8, 1, 1)'
        )
    data = Dataset('files')
    for kind, settings in given.items():
        if settings is not None:
            for split, record in read(_source(kind, settings), shares, cache):
                getattr(data, kind)[split].append(record)
    return data


def read(
    source: Source, shares: tuple[int, int, int] = (8, 1, 1), cache: Path | None = None
) -> Iterator[tuple[str, Record | str]]:
    """(split, record) of every row of a source; raises as `load` does."""
    columns = list(source.fields.values())
    more = list(source.optional.values())
    if isinstance(source.path, Path):
        key = source.group or columns[0]
        for row in read_rows(source.path, [*columns, key], cache, more):
            yield split_of(row.text(key), shares), _record(row, source)
        return
    for split, path in source.path.items():
        if split not in SPLITS:
            hint = near_miss(split, SPLITS)
            raise UserError(f'{source.kind} have no split {split!r}{hint}')
        for row in read_rows(path, columns, cache, more):
            yield split, _record(row, source)


def _source(kind: str, settings: Path | Mapping) -> Source:
    if isinstance(settings, Path):
        return Source(kind, settings)
    known = [field.name for field in dataclasses.fields(Source)][1:]
    if not hasattr(settings, 'items'):
        raise UserError(f'{kind}: {settings!r:.40} is neither a path nor settings')
    # a config's sections are no mappings
    settings = {
        name: dict(x.items()) if hasattr(x, 'items') else x
        for name, x in settings.items()
    }
    for setting in settings:
        if setting not in known:
            hint = near_miss(setting, known)
            raise UserError(f'{kind}: no setting {setting!r}{hint}')
    if 'path' not in settings:
        raise UserError(f'{kind}: the setting path is missing')
    return Source(kind, **settings)


def _record(row: Row, source: Source) -> Record | str:
    columns = source.fields

    def said(text: str) -> str:
        return source.response.replace('{response}', text)

    if source.kind == 'text':
        return row.filled(columns['text'])
    prompt = source.prompt.replace('{prompt}', row.text(columns['prompt']))
    if source.kind == 'prompts':
        return prompt
    if source.kind == 'comparisons':
        if 'completions' in columns:
            texts = row.filled_list(columns['completions'])
        else:
            texts = [row.filled(columns['chosen']), row.filled(columns['rejected'])]
        return Comparison(prompt, tuple(map(said, texts)), **_strength(row, source))
    response = said(row.filled(columns['response']))
    if source.kind == 'ratings':
        return Rating(prompt, response, row.share(columns['label']))
    return Demonstration(prompt, response)


def _strength(row: Row, source: Source) -> dict[str, float]:
    """Margin and preference, as far as the row has them."""
    margin, preference = (source.optional[name] for name in ('margin', 'preference'))
    found = {}
    if row.has(margin):
        found['margin'] = row.amount(margin)
    if row.has(preference):
        found['preference'] = row.share(preference)
    return found
