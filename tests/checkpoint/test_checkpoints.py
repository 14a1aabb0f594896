import dataclasses
import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from perl.checkpoint import Checkpoints
from perl.system.errors import UserError


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Pair:
    down: jax.Array
    up: jax.Array


def state(shift=0):
    return {
        'a': {'w/[x]': jnp.arange(12, dtype=jnp.float32).reshape(3, 4) + shift},
        'half': (
            jnp.arange(5, dtype=jnp.bfloat16) / 3 + shift,
            jnp.full((2, 1), shift),
        ),
        'pair': Pair(jnp.ones(2) * shift, jnp.ones((), jnp.int8)),
        'numpy': np.linspace(0, 1, 7),
        'step': np.int32(shift),
        'count': 3 + shift,
        'rate': 0.1,
    }


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A folder with steps 2, 4 and 6 saved, of which two are kept."""
    folder = tmp_path_factory.mktemp('saved') / 'stage' / 'checkpoints'
    checkpoints = Checkpoints(folder)
    for step in (2, 4, 6):
        checkpoints.save(step, state(step), {'seconds': step / 3})
    checkpoints.close()
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved.parent, tmp_path / 'stage') / 'checkpoints'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_empty_folder_has_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / 'no')
    assert checkpoints.latest() is None
    assert checkpoints.restore(state()) is None
    assert not (tmp_path / 'no').exists()


def test_gives_back_bit_for_bit_what_was_saved(saved):
    checkpoints = Checkpoints(saved)
    found, extra, step = checkpoints.restore(state())
    assert (step, extra, checkpoints.latest()) == (6, {'seconds': 2.0}, 6)
    assert_same(found, state(6))


def test_keeps_the_newest_two(saved):
    assert names(saved) == ['4', '6']


def test_restores_into_abstract_leaves(saved):
    def abstract(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype) if hasattr(x, 'shape') else x

    example = state()
    example['a'] = jax.tree.map(abstract, example['a'])
    found, _, _ = Checkpoints(saved).restore(example)
    assert_same(found, state(6))


@pytest.mark.parametrize('shape', [(8,), (2, 2), (1,)])
def test_restores_onto_another_mesh(tmp_path, shape):
    def placed(shape, spec):
        size = int(np.prod(shape))
        axes = ('x', 'y')[: len(shape)]
        mesh = jax.make_mesh(shape, axes, devices=jax.devices()[:size])
        return NamedSharding(mesh, PartitionSpec(*spec))

    w = jnp.arange(64, dtype=jnp.bfloat16).reshape(8, 8)
    before = {'w': jax.device_put(w, placed((4, 2), ('x', 'y')))}
    Checkpoints(tmp_path).save(1, before)
    there = placed(shape, ('x',))
    for example in (
        jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=there),
        jax.device_put(jnp.zeros_like(w), there),
    ):
        found, _, _ = Checkpoints(tmp_path).restore({'w': example})
        assert found['w'].sharding == there
        np.testing.assert_array_equal(found['w'], w)


def changed(key):
    other = state()
    if key == 'missing':
        other['more'] = jnp.zeros(2)
    elif key == 'extra':
        del other['rate']
    elif key == 'shape':
        other['a']['w/[x]'] = jnp.zeros((4, 3))
    else:
        other['numpy'] = other['numpy'].astype(np.float32)
    return other


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        ('missing', r"lacks \['more'\]"),
        ('extra', r"its \['rate'\]"),
        ('shape', r'float32\[3, 4\], not float32\[4, 3\]'),
        ('dtype', r"\['numpy'\] as float64\[7\], not float32\[7\]"),
    ],
)
def test_another_state_is_refused(saved, key, said):
    with pytest.raises(UserError, match=said):
        Checkpoints(saved).restore(changed(key))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def files(folder):
    """Every file of a checkpoint, by the kind that its path tells."""
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    assert len(found) > 5
    return found


@pytest.mark.parametrize('damage', [flip, cut, os.remove])
def test_any_damaged_file_gives_way_to_the_older_step(copy, capfd, damage):
    kept = shutil.copytree(copy / '6', copy.parent / 'kept')
    for path in files(copy / '6'):
        damage(path)
        before = names(copy)
        found, extra, step = Checkpoints(copy).restore(state())
        assert (step, extra) == (4, {'seconds': 4 / 3}), path
        assert_same(found, state(4))
        said = capfd.readouterr().err
        assert said.count('\n') == 1
        assert 'DAMAGED' in said and path.name in said
        assert 'step 6' in said and 'going on from step 4' in said
        assert names(copy) == before
        shutil.copytree(kept, copy / '6', dirs_exist_ok=True)
    assert Checkpoints(copy).restore(state())[2] == 6


def test_a_damaged_step_is_replaced_when_the_run_comes_there_again(copy, capfd):
    cut(copy / '6' / 'card.json')
    checkpoints = Checkpoints(copy)
    assert checkpoints.restore(state())[2] == 4
    checkpoints.save(5, state(5))
    assert names(copy) == ['4', '5']
    checkpoints.save(6, state(60))
    assert names(copy) == ['5', '6']
    assert_same(Checkpoints(copy).restore(state())[0], state(60))


def test_saving_over_a_damaged_step(copy, capfd):
    cut(copy / '6' / 'card.json')
    checkpoints = Checkpoints(copy)
    checkpoints.restore(state())
    checkpoints.save(6, state(60))
    assert names(copy) == ['4', '6']
    assert_same(Checkpoints(copy).restore(state())[0], state(60))


def test_no_silent_fresh_start_when_all_are_damaged(copy):
    flip(copy / '6' / 'card.json')
    os.remove(copy / '4' / 'card.json')
    with pytest.raises(UserError, match=r'step 6.*damaged.*step 4.*missing'):
        Checkpoints(copy).restore(state())
    assert names(copy) == ['4', '6']


def test_an_interrupted_save_is_no_checkpoint(copy):
    shutil.move(copy / '6', copy / '6.tmp')
    os.remove(copy / '6.tmp' / 'card.json')
    checkpoints = Checkpoints(copy)
    assert checkpoints.restore(state())[2] == 4
    checkpoints.save(6, state(6))
    assert names(copy) == ['4', '6']


FULL = """
import resource, signal, sys
import numpy as np
from perl.checkpoint import Checkpoints
from perl.system.errors import UserError
checkpoints = Checkpoints(sys.argv[1])
rng = np.random.default_rng(0)
small, large = {'w': rng.bytes(100)}, {'w': rng.bytes(1 << 20)}
small, large = ({'w': np.frombuffer(x['w'], np.uint8)} for x in (small, large))
checkpoints.save(1, small)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, resource.RLIM_INFINITY))
try:
    checkpoints.save(2, large)
except UserError as error:
    print(error)
found, _, step = checkpoints.restore(small)
assert step == 1 and (found['w'] == small['w']).all()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
checkpoints.save(2, large)
assert (checkpoints.restore(large)[0]['w'] == large['w']).all()
"""


def test_a_write_that_fails_is_one_line_and_loses_nothing(tmp_path):
    folder = tmp_path / 'checkpoints'
    done = subprocess.run(
        [sys.executable, '-c', FULL, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f'could not save step 2 to {folder}: File too large; free some space, and run '
        'the same command again: step 1 is intact\n'
    )
    assert 'Traceback' not in done.stderr
    assert names(folder) == ['1', '2']


def test_a_failed_first_save_leaves_nothing_to_restore(tmp_path):
    (tmp_path / 'file').write_text('')
    checkpoints = Checkpoints(tmp_path / 'file' / 'checkpoints')
    with pytest.raises(UserError, match=r'step 1 .*no earlier step was saved'):
        checkpoints.save(1, state())
    assert checkpoints.restore(state()) is None


KILLED = """
import os, sys
import numpy as np
from perl.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
print('start', flush=True)
for step in range(1, 10000):
    checkpoints.save(step, {'w': np.full(50000, step)}, {'step': step})
    print(step, flush=True)
"""


def test_kill_9_anywhere_leaves_a_whole_checkpoint(tmp_path):
    example = {'w': np.zeros(50000, np.int64)}
    done = 0
    for wait in (0.1, 0.23):
        with subprocess.Popen(
            [sys.executable, '-c', KILLED, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            for _ in range(4):
                process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(wait)
            process.kill()
            said = process.stdout.read().split()
        done = int(said[-1]) if said else 3
        found, extra, step = Checkpoints(tmp_path).restore(example)
        assert step >= done and extra == {'step': step}
        assert (found['w'] == step).all()
        shutil.rmtree(tmp_path)


@pytest.mark.parametrize('lost', ['4 and 6', 'the folder'])
def test_no_fresh_start_when_all_are_gone(copy, lost):
    for name in '46':
        shutil.rmtree(copy / name)
    if lost == 'the folder':
        copy.rmdir()
    with pytest.raises(UserError, match=rf'6: it is missing.*remove {copy.parent}'):
        Checkpoints(copy).restore(state())


def test_a_lost_step_gives_way_to_the_older_one_aloud(copy, capfd):
    shutil.rmtree(copy / '6')
    checkpoints = Checkpoints(copy)
    assert checkpoints.restore(state())[2] == 4
    assert 'step 6: it is missing; going on from step 4' in capfd.readouterr().err
    checkpoints.save(5, state(5))
    assert names(copy) == ['4', '5']
    Checkpoints(copy).restore(state())
    assert capfd.readouterr().err == ''


def test_what_killed_saves_left_is_swept_at_the_next_start(copy):
    for name in ('7.tmp', '2.removed'):
        shutil.copytree(copy / '6', copy / name)
    (copy / 'mine').mkdir()
    assert Checkpoints(copy).restore(state())[2] == 6
    assert names(copy) == ['4', '6', 'mine']


@pytest.mark.parametrize('number', [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_neither_damaged_nor_removed(copy, monkeypatch, number):
    kept = {path: path.read_bytes() for path in files(copy)}
    opened = pathlib.Path.open

    for broken in files(copy / '6'):

        def refuse(path, *args, broken=broken, **kwargs):
            if path == broken:
                raise OSError(number, os.strerror(number))
            return opened(path, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, 'open', refuse)
            checkpoints = Checkpoints(copy)
            said = f'{broken} cannot be read: {os.strerror(number)}; .* no file was re'
            with pytest.raises(UserError, match=said):
                checkpoints.restore(state())
    assert {path: path.read_bytes() for path in files(copy)} == kept


INPUTS = {'config': {'seed': 0, 'of': ['a']}, 'base': 'b1', 'data': {'text': 't1'}}


def test_other_inputs_are_named(tmp_path):
    folder = tmp_path / 'sft' / 'checkpoints'
    first = Checkpoints(folder, inputs={**INPUTS, 'config': {'seed': 0, 'of': ('a',)}})
    first.save(1, state())
    assert Checkpoints(folder, inputs=INPUTS).restore(state())[2] == 1
    for changes, said in (
        ({'base': 'b2'}, r"base: was 'b1', is 'b2'"),
        ({'config': {'seed': 3, 'of': ['a']}}, 'config.seed: was 0, is 3'),
        ({'data': {'text': 't2'}}, r"data.text: was 't1', is 't2'"),
        ({'more': 1}, 'more: was None, is 1'),
    ):
        again = Checkpoints(folder, inputs={**INPUTS, **changes})
        said = rf'{folder / "1"} was made from other inputs \({said}\); restore the '
        # also where the state has another structure
        for example in (state(), {'w': jnp.zeros(3)}):
            with pytest.raises(UserError, match=said):
                again.restore(example)
    assert names(folder) == ['1']


def test_inputs_are_under_the_checksum(tmp_path):
    folder = tmp_path / 'checkpoints'
    Checkpoints(folder, inputs=INPUTS).save(1, state())
    card = folder / '1' / 'card.json'
    card.write_text(card.read_text().replace('b1', 'b2'))
    with pytest.raises(UserError, match=r'card\.json is damaged'):
        Checkpoints(folder, inputs={**INPUTS, 'base': 'b2'}).restore(state())


def test_a_checkpoint_of_an_older_version_is_refused(copy):
    card = copy / '6' / 'card.json'
    content = json.loads(json.loads(card.read_text())['content'])
    del content['inputs']
    text = json.dumps(content)
    card.write_text(json.dumps({'content': text, 'crc32': zlib.crc32(text.encode())}))
    assert Checkpoints(copy).restore(state())[2] == 6
    with pytest.raises(UserError, match=r'written by an older version.*or remove'):
        Checkpoints(copy, inputs=INPUTS).restore(state())


FULL_DISK = """
import sys
import numpy as np
from perl.checkpoint import Checkpoints
from perl.system.errors import UserError
checkpoints = Checkpoints(sys.argv[1])
for step in range(1, 100):
    arrays = {name: np.random.default_rng(0).normal(size=step * 50) for name in 'abcd'}
    try:
        checkpoints.save(step, arrays)
    except UserError as error:
        print(error)
        break
"""


@pytest.mark.parametrize('size', ['48k', '64k', '100k'])
def test_a_full_disk_is_one_line(tmp_path, size):
    """Orbax has several writers, which fail one after the other."""
    mounted = ['unshare', '-rm', 'sh', '-c']
    mounted += [f'mount -t tmpfs -o size={size} tmpfs {tmp_path} && exec "$@"', 'sh']
    if subprocess.run([*mounted, 'true'], capture_output=True, check=False).returncode:
        pytest.skip('this user may not mount a small disk')
    done = subprocess.run(
        [*mounted, sys.executable, '-c', FULL_DISK, str(tmp_path / 'checkpoints')],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == '' and done.returncode == 0
    assert done.stdout.startswith('could not save step ')
    assert 'No space left on device; free some space' in done.stdout
    assert done.stdout.count('\n') == 1
