"""The house: imports point down, tests mirror it, functions can be seen whole."""

import ast
import pathlib
import re

import pytest

from perl.config.kinds import KINDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
# lowest first: a room imports from rooms before it in this list, and from itself
ROOMS = (
    *('system', 'weights', 'losses', 'sharding', 'models', 'adapters', 'data'),
    *('judges', 'rollout', 'checkpoint', 'training', 'config', 'runs'),
    *('evaluation', 'stages', 'report'),
    *('check', 'memory', 'train', 'evaluate', 'generate', 'score', 'label', 'export'),
)
FILES = sorted((ROOT / 'perl').rglob('*.py'))
MODULES = [file for file in FILES if file.parent != ROOT / 'perl' or file.stem in ROOMS]
LONGEST_FUNCTION = 60
# functions that are longer, with their lengths: they may shrink
LONG_FUNCTIONS: dict[str, int] = {}
# files of more than 200 lines, with their lengths: they may shrink
LONG_FILES = {'runs/run.py': 234}
# a comparison of the kind of a stage with a name, which only these may make
ASKS = re.compile(
    r"\bkind(\(\w+\)|'\)|'\])? (==|!=|in|not in) \(?'"
    rf"({'|'.join(KINDS)})'"
)
MAY_ASK = ('config/sections/stage.py', 'report/')
# what has arrays in it: themselves, and the data of an iteration of a policy
ARRAYS = re.compile(r'jax\.Array|np\.ndarray|\b(Rollout|Scores|Experience)\b')
# `[B, T]`, `[n]`, `[..., D]`, `[*inputs, R]`, `[B, P + R]`, or words for it
_DIMENSION = r'(?:\.\.\.|\*?[A-Za-z]\w*|\d+)(?: ?[-+*/] ?\w+)*'
SHAPES = re.compile(
    rf'(?<![\w\]])\[{_DIMENSION}(?:, {_DIMENSION})*\]'
    r'|\bscalars?\b|\bany shapes?\b|\bshapes? that\b'
)
# tests of several files, or of what is outside of perl/
OF_SEVERAL = {
    *('adapters/test_tree', 'stages/test_plans', 'losses/test_shapes'),
}


def room(file):
    """The first part of a module's path."""
    return file.relative_to(ROOT / 'perl').parts[0].removesuffix('.py')


def imported(tree):
    """The modules of `perl` that a file imports, as tuples of names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('perl'):
            parts = tuple(node.module.split('.')[1:])
            if parts:
                yield parts
            else:
                yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name.split('.') for alias in node.names)
            yield from (tuple(n[1:]) for n in names if n[0] == 'perl' and n[1:])


@pytest.mark.parametrize('file', MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_down(file):
    own = ROOMS.index(room(file))
    for parts in imported(ast.parse(file.read_text())):
        assert ROOMS.index(parts[0]) <= own, f'{file.name} imports perl.{parts[0]}'


def test_no_import_goes_in_circles():
    graph = {}
    for file in MODULES:
        name = '.'.join(file.relative_to(ROOT / 'perl').with_suffix('').parts)
        tree = ast.parse(file.read_text())
        graph[name] = {
            '.'.join((*node.module.split('.')[1:], alias.name))
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            and (node.module or '').startswith('perl.')
            for alias in node.names
        } | {'.'.join(parts) for parts in imported(ast.Module(tree.body, []))}
    done, path = set(), []

    def visit(name):
        assert name not in path, ' -> '.join([*path[path.index(name) :], name])
        if name in done or name not in graph:
            return
        path.append(name)
        for other in graph[name]:
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_functions_can_be_seen_whole():
    long = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f'{file.relative_to(ROOT / "perl")}:{node.name}'] = length
    assert {k: n for k, n in long.items() if n > LONG_FUNCTIONS.get(k, 0)} == {}
    assert LONG_FUNCTIONS.keys() <= long.keys(), 'remove what is short by now'


def test_files_are_short():
    long = {}
    for file in FILES:
        count = len(file.read_text().splitlines())
        if count > 200:
            long[str(file.relative_to(ROOT / 'perl'))] = count
    assert {k: n for k, n in long.items() if n > LONG_FILES.get(k, 200)} == {}
    assert LONG_FILES.keys() <= long.keys(), 'remove what is short by now'


def test_tests_mirror_the_package():
    known = {str(f.relative_to(ROOT / 'perl').with_suffix('')) for f in FILES}
    for file in (ROOT / 'tests').rglob('test_*.py'):
        place = file.relative_to(ROOT / 'tests')
        if len(place.parts) == 1 or place.parts[0] in ('reference', 'extensions'):
            continue
        name = place.parent / place.stem.removeprefix('test_')
        if str(place.with_suffix('')) not in OF_SEVERAL:
            assert str(name) in known, f'{place}: there is no perl/{name}.py'


def test_few_files_ask_for_the_kind_of_a_stage():
    asking = {
        str(file.relative_to(ROOT / 'perl'))
        for file in FILES
        if ASKS.search(file.read_text())
    }
    assert {file for file in asking if not file.startswith(MAY_ASK)} == set()
    assert 'config/sections/stage.py' in asking, 'the pattern finds what is there'


def test_array_functions_say_their_shapes():
    """A public function of arrays states a shape such as `[B, T]`, or which
    declaration its arrays follow, in its docstring."""
    silent = []
    for file in FILES:
        tree = ast.parse(file.read_text())
        classes = [x for x in tree.body if isinstance(x, ast.ClassDef)]
        for node in (*tree.body, *(x for c in classes for x in c.body)):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith('_'):
                continue
            returns = ast.unparse(node.returns or ast.Constant(0))
            signature = ast.unparse(node.args) + returns
            if ARRAYS.search(signature):
                text = ' '.join((ast.get_docstring(node) or '').split())
                if not SHAPES.search(text):
                    silent.append(f'{file.relative_to(ROOT / "perl")}:{node.name}')
    assert silent == []
