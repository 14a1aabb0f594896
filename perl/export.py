"""Writes a trained model for PEFT, transformers or vLLM, or as our own bundle.

    python -m perl.export --workdir=runs/mine --stage=reward --format=peft --output=DIR
    python -m perl.export --model=PATH --adapter=DIR --format=merged --output=DIR

`peft` is an adapter in the format of PEFT, `merged` a whole model of transformers
(of a reward model: one of sequence classification with one label), `bundle` the
adapter folder of ours.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from perl.adapters import bundle, peft, tree
from perl.adapters.peft import write_reward
from perl.config import lineage
from perl.data.tokenizers import padding
from perl.models import families
from perl.models.files import beside, is_foreign, open_checkpoint, write_checkpoint
from perl.models.heads import HEAD
from perl.runs import roles
from perl.runs.alone import open_one
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import cli
from perl.system.errors import UserError
from perl.weights import abstract

FORMATS = ('peft', 'merged', 'bundle')


def export(
    run: Run, role: Role, form: str, output: pathlib.Path, decoded: bool = False
) -> str:
    """Writes a role into a folder; returns what a person must know, in one line.

    Args:
        run: with its base.
        role: what is written.
        form: of `FORMATS`.
        output: a folder that is not there, or is empty.
        decoded: allows that a base in few bits is written in floating point.

    Raises:
        UserError: the format cannot hold the role, or the folder has files.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f'--output: {output} has content already; name another folder')
    return _WRITE[form](run, role, output, decoded)


def stage_role(run: Run, stage: str) -> Role:
    """What a stage of a run made.

    Raises:
        UserError: there is no such stage, it is not finished, or it is an ensemble.
    """
    if stage == 'base':
        return run.source('base')
    if stage in run.config and 'combine' in run.config[stage]:
        raise UserError(
            f'--stage: {stage} is an ensemble, which is several reward models and a '
            f'rule; export its members: {", ".join(run.config[stage].of)}'
        )
    if stage in run.config.stages and lineage.makes(run.config, stage) == 'base':
        return run.source('base')
    return run.adapter(stage)


def _write_peft(run, role, output, decoded):
    del decoded
    family, name = _family(run), run.config.model.path
    peft.write(
        output, run.arch, role.delta, role.tuning, family=family,
        base=name, shift=role.shift, scale=role.scale,
    )  # fmt: skip
    note = _score_note(output, role)
    if role.base is not run.base:
        note = f'its base is the SFT model: export --stage=sft --format=merged; {note}'
    return note


def _write_bundle(run, role, output, decoded):
    del decoded
    if role.tuning is None:
        raise UserError('--format: a base has no adapter; write --format=merged')
    delta = role.delta
    if not _fits(run, role):  # scales by kernel, which a tuning of ours has not
        delta, tuning = role.tuning.describing(jax.device_get(delta))
        role = Role(role.base, role.base_id, delta, tuning, role.shift, role.scale)
    if not _fits(run, role):
        raise UserError(
            '--format: the adapter holds parameters whole beside its factors, which a '
            'bundle has not; write --format=peft or --format=merged'
        )
    kind = 'reward' if HEAD in delta else 'policy'
    card = roles.card(role, kind, run.tokenizer.fingerprint)
    bundle.save(output, jax.device_get(delta), card)
    return ''


def _fits(run, role):
    declared = roles.declared(role, run.leaves, run.arch.width)
    return jax.tree.structure(abstract(declared)) == jax.tree.structure(role.delta)


def _write_merged(run, role, output, decoded):
    if run.arch.quantization != 'none' and not decoded:
        raise UserError(
            f'--format: the base is stored in {run.arch.quantization}, and a merged '
            'model would be its decoded numbers; allow it with --decoded, or write '
            '--format=peft'
        )
    params, head = tree.merge(role.base, role.delta), {}
    if HEAD in params:
        head = params[HEAD]
        params = {**params, HEAD: {**head, 'bias': jnp.zeros((), jnp.float32)}}
    path, family = run.config.model.path, _family(run)
    pad, note = run.tokenizer.pad, ''
    if head:
        pad = padding.of_classifier(run.tokenizer)
        note = 'pad is eos, so score one text at a time; ' if pad is None else ''
    foreign = open_checkpoint(path) if path and is_foreign(path) else None
    ids = {'bos_token_id': run.tokenizer.bos, 'eos_token_id': run.tokenizer.eos}
    if foreign:  # as its makers say them: eos may be several
        ids |= {k: foreign.config[k] for k in ids if foreign.config.get(k) is not None}
    made = families.to_foreign(run.arch, params, family, {**ids, 'pad_token_id': pad})
    own = beside(path) if foreign else {}
    if head and own and pad is not None:
        own = padding.padded_with(own, pad)
    write_checkpoint(
        output, made.config, made.tensors, beside=own,
        generation=(foreign and foreign.generation) or None,
    )  # fmt: skip
    if not foreign:
        run.tokenizer.save(output / 'tokenizer')
        note = f'the tokenizer is in {output / "tokenizer"}, as ours; {note}'
    if head:
        write_reward(output, float(head['bias']), role.shift, role.scale)
        note += _score_note(output, role)
    return note


def _score_note(output, role):
    if (output / peft.REWARD).exists():
        shift, scale = float(role.shift), float(role.scale)
        bias = float(role.delta[HEAD]['bias'])
        return (
            f'reward = (score + {bias:.6g} - {shift:.6g}) / {scale:.6g}, as '
            f'{peft.REWARD} says'
        )
    return ''


def _family(run):
    path = run.config.model.path
    if not (path and is_foreign(path)):
        return None
    return families.from_foreign(open_checkpoint(path).config)[0]


_WRITE = {'peft': _write_peft, 'merged': _write_merged, 'bundle': _write_bundle}


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values: Any = flags.FLAGS
    if bool(values.stage) == bool(values.adapter):
        raise UserError('--stage: give this, of a run, or --adapter, a folder')
    if values.stage and values.model:
        raise UserError('--stage: it is one of a run; give --workdir, or --adapter')
    run = open_one(values.workdir, values.model)
    with jax.set_mesh(run.mesh):
        if values.stage:
            role = stage_role(run, values.stage)
        else:
            role = run.adapter(values.adapter)
        output = pathlib.Path(values.output)
        note = export(run, role, values.format, output, values.decoded)
    print(f'{output}: {values.format}')
    if note:
        print(note.rstrip('; '), file=sys.stderr)


def define_flags() -> None:
    """Defines the flags of the command; called only when the command runs."""
    flags.DEFINE_string('workdir', '', 'a run folder')
    flags.DEFINE_string('model', '', 'a base: a folder or file (docs/models.md)')
    flags.DEFINE_string('stage', '', 'of the run, or base')
    flags.DEFINE_string('adapter', '', 'a folder: a bundle of ours, or of PEFT')
    flags.DEFINE_enum('format', 'peft', FORMATS, 'what is written')
    flags.DEFINE_string('output', None, 'the folder to write')
    flags.DEFINE_bool('decoded', False, 'merges into a base that is stored in few bits')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('output',))
