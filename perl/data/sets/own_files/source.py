"""The settings for one kind of records in the user's files, and their checks."""

import dataclasses
import difflib
import pathlib
from collections.abc import Mapping, Sequence

from perl.data.records import SPLITS
from perl.data.sets.own_files import templates
from perl.data.sets.own_files.fields import FIELDS, OPTIONAL
from perl.system.errors import UserError
from perl.system.suggest import near_miss

Path = str | pathlib.Path
Paths = Path | Sequence[Path]

TEMPLATES = ('prompt', 'response')
_TYPES = {
    'path': (
        (str, pathlib.Path, Mapping, list, tuple),
        'a path, a list of paths, or a path for each split',
    ),
    'columns': ((Mapping,), 'a mapping from fields to columns'),
    'group': ((str, type(None)), 'the name of a column'),
    'prompt': ((str,), 'a text with {prompt} in it'),
    'response': ((str,), 'a text with {response} in it'),
}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the records of one kind are and how to read them.

    Attributes:
        kind: 'text', 'demonstrations', 'comparisons', 'ratings' or 'prompts'.
        path: a file, a folder, a pattern, or a list of these; or {split: any of these}
            if the files are already split.
        columns: {field: column}, for columns with another name than their field. The
            fields by kind are text (or prompt and response, which make a text); prompt,
            response; prompt, chosen, rejected (or prompt, completions, a list with the
            best first), and margin and preference if the file has these columns;
            prompt, response, label; prompt. Rows of messages have the fields of
            `perl.data.sets.own_files.conversations`.
        group: the column with the group of a row (a dialog, a post): rows of one group
            are in one split. By default the prompt or text is the group.
        prompt, response: templates for the texts, such as 'Q: {prompt}\\nA:' and
            ' {response}'. Other names in braces are columns; `{{name}}` becomes
            `{name}`.
        there: the columns of the file that is read; None where no file is open yet.
    """

    kind: str
    path: Paths | Mapping[str, Paths]
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    group: str | None = None
    prompt: str = '{prompt}'
    response: str = '{response}'
    there: Sequence[str] | None = None

    def __post_init__(self):
        self._check_types()
        self._check_columns()
        for name in TEMPLATES:
            self._check_template(name, getattr(self, name))
        for split in self.splits:
            if split not in SPLITS:
                hint = near_miss(split, SPLITS)
                raise UserError(f'{self.kind} have no split {split!r}{hint}')

    @property
    def splits(self) -> Mapping[str, Paths]:
        """{split: paths}; empty if the files are not split yet."""
        return self.path if isinstance(self.path, Mapping) else {}

    @property
    def fields(self) -> dict[str, str]:
        """{field: column} of the required fields."""
        optional = [field for field in self.optional if field in self.columns]
        named = self.columns.keys() - set(optional)
        sets = [fields for fields in FIELDS[self.kind] if named <= set(fields)]
        in_file = (x for x in sets if self.there and self._columns(x) <= {*self.there})
        chosen = next(in_file, sets[0])
        return {x: self.columns.get(x, x) for x in (*chosen, *optional)}

    @property
    def optional(self) -> dict[str, str]:
        """{field: column} of the fields that may be missing unless `columns` names
        them."""
        fields = OPTIONAL.get(self.kind, ())
        return {field: self.columns.get(field, field) for field in fields}

    @property
    def needed(self) -> dict[str, str]:
        """{column: the reason} for all columns that every file must have."""
        why = {}
        for name in TEMPLATES:
            for column in self.template_columns(name):
                why[column] = (
                    f'{self.kind}.{name} has {{{column}}} in its template; write '
                    f'{{{{{column}}}}} where the braces are text'
                )
        for field, column in self.fields.items():
            why[column] = f'name the column of {field} as {self.kind}.columns.{field}'
        if self.group:
            why[self.group] = f'{self.kind}.group names it'
        return why

    @property
    def candidates(self) -> list[str]:
        """The columns that tell which fields a file has."""
        sets = (self._columns(fields) for fields in FIELDS[self.kind])
        return sorted(set().union(*sets))

    def _columns(self, fields):
        return {self.columns.get(x, x) for x in fields}

    def template_columns(self, name: str) -> list[str]:
        """The columns in a template, without the field of its name."""
        answers = {'chosen', 'completions', 'completion'} & self.fields.keys()
        if name not in self.fields and not (name == 'response' and answers):
            return []
        inside = templates.names(getattr(self, name))
        return [self.columns.get(x, x) for x in inside if x != name]

    def _check_types(self):
        for setting, (types, expected) in _TYPES.items():
            value = getattr(self, setting)
            if not isinstance(value, types):
                raise UserError(
                    f'{self.kind}.{setting}: {value!r:.40} is not {expected}'
                )
        for where in self.splits.values() if self.splits else [self.path]:
            for path in where if isinstance(where, list | tuple) else [where]:
                if not isinstance(path, Path):
                    raise UserError(f'{self.kind}.path: {path!r:.40} is not a path')

    def _check_columns(self):
        sets, optional = FIELDS[self.kind], OPTIONAL.get(self.kind, ())
        known = list(dict.fromkeys(x for fields in (*sets, optional) for x in fields))
        for field, column in self.columns.items():
            if not isinstance(column, str):
                raise UserError(
                    f'{self.kind}.columns.{field}: {column!r:.40} is not a name'
                )
            if field not in known:
                hint = near_miss(field, known)
                raise UserError(f'{self.kind} have no field {field!r}{hint}')
        named = self.columns.keys() - set(optional)
        if not any(named <= set(fields) for fields in sets):
            either = ', or '.join(' and '.join(fields) for fields in sets)
            raise UserError(
                f'{self.kind}.columns: {" and ".join(sorted(named))} cannot be '
                f'combined; {self.kind} have {either}'
            )
        field_of = {}
        for field, column in {**self.fields, **self.optional}.items():
            other = field_of.setdefault(column, field)
            if other != field:
                raise UserError(
                    f'{self.kind}.columns: {other} and {field} are both the column '
                    f'{column!r}; name a different column for each'
                )

    def _check_template(self, name, template):
        inside = templates.names(template)
        if name not in inside:
            near = difflib.get_close_matches(name, inside, 1)
            hint = f' (is {{{near[0]}}} meant to be it?)' if near else ''
            raise UserError(f'{self.kind}.{name}: the template lacks {{{name}}}{hint}')
        if any('\ud800' <= letter <= '\udfff' for letter in template):
            raise UserError(
                f'{self.kind}.{name}: the template is not UTF-8 text; write it again'
            )


def from_settings(kind: str, settings: Paths | Mapping) -> Source:
    """A source from a path, from several paths, or from a mapping with its settings.

    Raises:
        UserError: a setting is unknown, missing or of the wrong type.
    """
    if isinstance(settings, Path | list | tuple):
        return Source(kind, settings)
    known = [field.name for field in dataclasses.fields(Source)][1:-1]
    if not hasattr(settings, 'items'):
        raise UserError(f'{kind}: {settings!r:.40} is neither a path nor settings')
    # sections of a config are not of the type Mapping
    values = {
        name: dict(value.items()) if hasattr(value, 'items') else value
        for name, value in settings.items()
    }
    for setting in values:
        if setting not in known:
            hint = near_miss(setting, known)
            raise UserError(f'{kind}: no setting {setting!r}{hint}')
    if 'path' not in values:
        raise UserError(f'{kind}: the setting path is missing')
    return Source(kind, **values)
