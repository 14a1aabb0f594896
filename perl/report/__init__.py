"""The report of a run: Markdown, pictures and tables, made only from its files."""

from perl.report.pictures import Picture, Pictures
from perl.report.report import pictures, write

__all__ = ['Picture', 'Pictures', 'pictures', 'write']
