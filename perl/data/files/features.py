"""The features of a tf.train.Example by type, with errors that name the record."""

import dataclasses
import pathlib
from collections.abc import Collection, Iterator

from perl.data.files import tfrecord
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Features:
    """One record of a TFRecord file.

    Attributes:
        place: the file and the number of the record, for errors.
        source: the address of the file for a new download.
        values: {name: list of bytes, integers or floats}.
    """

    place: str
    source: str
    values: dict[str, tfrecord.Feature]

    def all_bytes(self, name: str) -> list[bytes]:
        """The byte strings of a feature; [] if it is absent."""
        return self._all(name, bytes, 'byte strings')

    def texts(self, name: str) -> list[str]:
        """The strings of a feature; invalid UTF-8 becomes the replacement character."""
        return [x.decode('utf-8', 'replace') for x in self.all_bytes(name)]

    def numbers(self, name: str) -> list[float] | list[int]:
        """The numbers of a feature; [] if it is absent."""
        return self._all(name, int | float, 'numbers')

    def text(self, name: str) -> str:
        """The string of a feature that has exactly one."""
        return self._one(name, self.texts(name))

    def integer(self, name: str) -> int:
        """The integer of a feature that has exactly one."""
        return self._one(name, self._all(name, int, 'integers'))

    def bad(self, what: str) -> UserError:
        """The error that names the record and says how to fix it."""
        return UserError(f'{self.place}: {what}; get the file again from {self.source}')

    def _all(self, name, kind, what):
        values = self.values.get(name, [])
        if not all(isinstance(value, kind) for value in values):
            raise self.bad(f'{name} are not {what}')
        return values

    def _one(self, name, values):
        if len(values) != 1:
            raise self.bad(f'it has {len(values)} values of {name}, not one')
        return values[0]


def read(file: pathlib.Path, names: Collection[str], source: str) -> Iterator[Features]:
    """The records of a file; arguments and errors as `tfrecord.read`."""
    for number, values in enumerate(tfrecord.read(file, names, source), 1):
        yield Features(f'{file}, record {number}', source, values)
