"""Writes a trained model for PEFT, transformers or vLLM, or as our own bundle.

    python -m perl.export --workdir=runs/mine --stage=reward --format=peft --output=DIR
    python -m perl.export --model=PATH --adapter=DIR --format=merged --output=DIR
    python -m perl.export --model=NAME.gguf --stage=base --format=merged --output=DIR

`peft` is an adapter in the format of PEFT, `merged` a whole model of transformers
(of a reward model: one of sequence classification with one label; over a base in few
bits: a folder of ours, whose kernels stay so), `bundle` the adapter folder of ours.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from perl.adapters import bundle, peft
from perl.config import lineage
from perl.models.heads import HEAD
from perl.runs import roles
from perl.runs.merged import family_of_base, score_note, write_merged
from perl.runs.model_alone import open_one, reads_messages
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import cli
from perl.system.errors import UserError
from perl.weights import abstract

FORMATS = ('peft', 'merged', 'bundle')


def export(
    run: Run, role: Role, form: str, output: pathlib.Path, decoded: bool = False
) -> str:
    """Writes a role into a folder; returns one line of notes for the user.

    Args:
        run: with its base.
        role: what is written.
        form: of `FORMATS`.
        output: a folder that is not there, or is empty.
        decoded: writes a base in few bits in floating point.

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
    _check_adapter(role)
    family, name, chat = family_of_base(run), run.config.model.path, reads_messages(run)
    peft.write(
        output, run.arch, role.delta, role.tuning, family=family,
        base=name, shift=role.shift, scale=role.scale, chat=chat,
    )  # fmt: skip
    note = score_note(role)
    if chat:
        note = f'its prompts are renderings of the chat template; {note}'
    stored = run.arch.quantization
    if stored != 'none':
        note = f'it has learned on a base in {stored}: store that so too; {note}'
    if role.base is not run.base:
        note = f'its base is the SFT model: export --stage=sft --format=merged; {note}'
    return note


def _check_adapter(role):
    if role.tuning is None:
        raise UserError('--format: a base has no adapter; write --format=merged')


def _write_bundle(run, role, output, decoded):
    del decoded
    _check_adapter(role)
    delta = role.delta
    declared = roles.declared(role, run.leaves, run.arch.width)
    if jax.tree.structure(abstract(declared)) != jax.tree.structure(delta):
        # scales by kernel, which a tuning of ours has not
        delta, tuning = role.tuning.describing(jax.device_get(delta))
        role = Role(role.base, role.base_id, delta, tuning, role.shift, role.scale)
    kind = 'reward' if HEAD in delta else 'policy'
    card = roles.card(role, kind, run.tokenizer.fingerprint, reads_messages(run))
    bundle.save(output, jax.device_get(delta), card)
    return ''


_WRITE = {'peft': _write_peft, 'merged': write_merged, 'bundle': _write_bundle}


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values: Any = flags.FLAGS
    if bool(values.stage) == bool(values.adapter):
        raise UserError(
            '--stage or --adapter is required: give a stage of the run, or an adapter '
            'folder'
        )
    if values.stage not in ('', 'base') and values.model:
        raise UserError(
            '--stage names a stage of a run: give --workdir too, or give --adapter or '
            '--stage=base'
        )
    run = open_one(values.workdir, values.model, values.adapter)
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
    flags.DEFINE_bool('decoded', False, 'writes a base in few bits in floating point')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('output',))
