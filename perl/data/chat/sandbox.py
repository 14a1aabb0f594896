"""The sandbox that chat templates run in, with an end to their loops."""

import datetime
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# noncharacters of Unicode, around what stands inside of {% generation %}
OPEN, CLOSE = '\ufdd0', '\ufdd1'
STEPS = 10_000_000  # of loops and calls in one rendering, some ten seconds
_LONGEST = 10_000_000  # characters or elements that one product makes
_BITS = 100_000  # of one power
# names that no template can write
_BUDGET, _COUNTED = ' budget', ' counted'


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}`: the model's own text, to be marked."""

    tags = {'generation'}  # noqa: RUF012  (the name and the type are jinja2's)

    def parse(self, parser: Any) -> nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        call = self.call_method('marked')
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def marked(self, caller: Any) -> str:
        return f'{OPEN}{caller()}{CLOSE}'


class _Bounded(ImmutableSandboxedEnvironment):
    """The sandbox of jinja2, where a template cannot run for ever: the steps of its
    loops and its calls are counted, and its products and powers are bounded."""

    intercepted_binops = frozenset(('*', '**'))

    def _parse(self, *args: Any) -> nodes.Template:
        tree = super()._parse(*args)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None)
        return tree

    def call(self, context: Context, function: Any, /, *args: Any, **named: Any) -> Any:
        _spend(context)
        return super().call(context, function, *args, **named)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == '**' and isinstance(left, int) and isinstance(right, int):
            size, most = left.bit_length() * abs(right), _BITS
        else:
            size, most = _repeated(left, right) + _repeated(right, left), _LONGEST
        if size > most:
            raise jinja2.TemplateError(f'what {operator} makes is too large')
        return super().call_binop(context, operator, left, right)


def budget() -> dict[str, list[int]]:
    """A variable of one rendering: how many steps are left to it."""
    return {_BUDGET: [STEPS]}


@jinja2.pass_context
def _counted(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _spend(context)
        yield value


def _spend(context: Context) -> None:
    left = context.get(_BUDGET)
    if left is None:
        return
    left[0] -= 1
    if left[0] < 0:
        raise jinja2.TemplateError(f'it takes more than {STEPS:,} steps')


def _repeated(text: Any, times: Any) -> int:
    """How long a text or a list is that is repeated; 0 of other values."""
    if isinstance(text, str | list | tuple) and isinstance(times, int):
        return len(text) * times
    return 0


@functools.cache
def environment() -> ImmutableSandboxedEnvironment:
    """What transformers offers to a template (`_compile_jinja_template`)."""
    environment = _Bounded(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, 'jinja2.ext.loopcontrols'],
    )
    environment.filters['tojson'] = _to_json
    environment.filters[_COUNTED] = _counted
    environment.globals['raise_exception'] = _raise
    environment.globals['strftime_now'] = _now
    return environment


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    # the filter of jinja2 writes <, >, & and ' for HTML
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message):
    raise jinja2.TemplateError(message)


def _now(form):
    return datetime.datetime.now().strftime(form)
