"""What stages need of memory: compiled, with no data, no weights and no arrays."""

import json
import pathlib

import jax
import pytest
from commands import CONFIG, command

from perl import config as configs
from perl import memory, sharding
from perl.config import recipes
from perl.models import families
from perl.models.architecture import parameters
from perl.runs.base import run_as
from perl.stages.table import STAGES
from perl.system.errors import UserError
from perl.training.compiled import program_bytes
from perl.weights import is_leaf

SHAPES = pathlib.Path(__file__).parents[1] / 'configs' / 'shapes'
TINY = {
    'model_type': 'llama', 'architectures': ['LlamaForCausalLM'], 'hidden_act': 'silu',
    'hidden_size': 32, 'intermediate_size': 64, 'num_attention_heads': 4,
    'num_key_value_heads': 2, 'num_hidden_layers': 2, 'vocab_size': 300,
    'max_position_embeddings': 64, 'rms_norm_eps': 1e-5, 'tie_word_embeddings': True,
}  # fmt: skip


AVERAGED = """
from perl import config as configs

def get_config(arg=None):
    config = configs.load_config({config!r}).unlock()
    for name in ('dpo', 'dpo_2'):
        config[name] = configs.dpo_config(1e-3, tuning=config.sft.tuning)
    config.mean = configs.average_config(('dpo', 'dpo_2'))
    config.stages = ('pretrain', 'sft', 'dpo', 'dpo_2', 'mean')
    return config
"""


def load(tmp_path, **changes):
    config = configs.load_config(str(CONFIG))
    file = tmp_path / 'tiny.json'
    file.write_text(json.dumps({**TINY, **changes}))
    with config.unlocked():
        recipes.use_base(config, str(file))
    return config


def test_every_program_of_every_stage(tmp_path):
    config = load(tmp_path)
    rows = memory.memory(config, sharding.make_mesh(), ('lora', 'full'))
    named = [(tuning, x.stage, x.program) for tuning, x in rows]
    stages = [('sft', 'step'), ('reward', 'step'), ('policy', 'rollout')]
    stages += [('policy', 'score'), ('policy', 'update')]
    assert named == [(x, *y) for x in ('lora', 'full') for y in stages]
    by_name = {(tuning, x.stage, x.program): x for tuning, x in rows}
    for tuning, need in rows:
        parts = need.frozen + need.trained + need.optimizer + need.cache
        assert need.total == parts + need.temporary
        lora = by_name['lora', need.stage, need.program]
        assert tuning == 'lora' or need.optimizer > 10 * lora.optimizer
    # 2 of keys and values, 2 layers, 8 rows, 2 heads of 8, 32 slots, float32
    assert by_name['lora', 'policy', 'rollout'].cache == 2 * 2 * 8 * 2 * 8 * 32 * 4
    assert by_name['lora', 'sft', 'step'].cache == 0


def test_a_step_needs_what_the_compiler_says(tmp_path):
    config, mesh = load(tmp_path), sharding.make_mesh()
    arch = families.from_foreign(json.loads((tmp_path / 'tiny.json').read_text()))[1]
    plan = STAGES['sft'].plan(run_as(config, arch), config, 'sft')
    with jax.set_mesh(mesh):
        program = plan.update().lower(*plan.abstract(mesh)).compile()
    ((_, need),) = memory.memory(config, mesh, stages=['sft'])
    # arguments are the batch too, and the step's number
    assert need.total <= program_bytes(program) <= need.total + 2**16


def test_devices_divide_what_is_sharded(tmp_path):
    config = load(tmp_path)
    one, four = (
        {x.program: x for _, x in memory.memory(config, mesh, stages=['policy'])}
        for mesh in (sharding.make_mesh(), sharding.make_mesh(fsdp=4))
    )
    for name in ('rollout', 'score', 'update'):
        assert four[name].frozen < one[name].frozen / 2  # the base, not the adapters
    assert four['rollout'].cache == one['rollout'].cache // 4


def test_the_command(tmp_path):
    (tmp_path / 'tiny.json').write_text(json.dumps(TINY))
    flags = (f'--model={tmp_path / "tiny.json"}', '--stages=sft', '--json')
    ended = command('perl.memory', f'--config={CONFIG}', '--tuning=lora,full', *flags)
    assert ended.code == 0, ended.err
    *lines, last = ended.out.splitlines()
    found = json.loads(last)
    assert found['target'] == 'cpu' and found['mesh'] == dict.fromkeys(sharding.AXES, 1)
    assert [x['tuning'] for x in found['programs']] == ['lora', 'full']
    assert lines[-2].startswith('lora: all fits; the most is sft, step: ')


def test_the_command_shows_what_devices_send(tmp_path):
    (tmp_path / 'tiny.json').write_text(json.dumps(TINY))
    flags = (f'--model={tmp_path / "tiny.json"}', '--stages=sft', '--json')
    mesh = ('--mesh=fsdp=4', '--collectives')
    ended = command('perl.memory', f'--config={CONFIG}', *flags, *mesh)
    assert ended.code == 0, ended.err
    *lines, last = ended.out.splitlines()
    (program,) = json.loads(last)['programs']
    kinds = {(x['kind'], x['axes']) for x in program['collectives']}
    assert kinds == {('all-gather', 'fsdp'), ('all-reduce', 'fsdp')}
    assert any('| sft | step | all-gather | fsdp |' in x for x in lines)


@pytest.mark.parametrize(
    'flags, says',
    [
        (['--target=h99'], "target: 'h99' is none of cpu, a100 or h100 with a number"),
        (['--mesh=fsdp=x'], "mesh: 'fsdp=x' is not an axis and its length; write data"),
        (['--mesh=rows=2'], "mesh: 'rows=2' is not an axis"),
        (['--tuning=lorra'], "tuning.name: 'lorra' is not one of "),
        (['--stages=swim'], "stages: 'swim' is not"),
        (['--model=nowhere.json'], 'model.path: nowhere.json is not there; give the'),
    ],
)
def test_bad_input(flags, says):
    ended = command('perl.memory', f'--config={CONFIG}', *flags)
    assert says in ended.error


def test_a_stage_that_takes_no_step(tmp_path):
    file = tmp_path / 'averaged.py'
    file.write_text(AVERAGED.format(config=str(CONFIG)))
    ended = command('perl.memory', f'--config={file}', '--stages=mean')
    assert ended.code == 0, ended.err
    assert ended.out == 'mean: no step is trained, so nothing is compiled\n'


def test_a_window_that_is_too_long(tmp_path):
    with pytest.raises(UserError, match=r'prompt 16 \+ response 16 is longer than'):
        memory.memory(load(tmp_path, max_position_embeddings=16), sharding.make_mesh())


@pytest.mark.parametrize(
    'name, billions',
    [
        *[('gemma_2b', 2.51), ('gemma_7b', 8.54), ('llama_7b', 6.74)],
        *[('llama_8b', 8.03), ('llama_70b', 70.55)],
    ],
)
def test_shapes(name, billions):
    shape = json.loads((SHAPES / f'{name}.json').read_text())
    _, arch = families.from_foreign(shape)
    leaves = jax.tree.leaves(parameters(arch), is_leaf=is_leaf)
    count = sum(jax.numpy.prod(jax.numpy.array(x.shape, 'float32')) for x in leaves)
    assert round(float(count) / 1e9, 2) == pytest.approx(billions, abs=0.01)
