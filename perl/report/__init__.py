"""The report of a run: Markdown, plots and tables, from its files alone."""

from perl.report.report import write

__all__ = ['write']
