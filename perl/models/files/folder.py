"""The folder of a Hugging Face model: config, safetensors in one file or in shards."""

import pathlib
from typing import Any

from perl.models.files.checkpoint import Checkpoint, Tensor
from perl.models.files.tensor_files import damaged, tensors_in
from perl.system import jsonl
from perl.system.errors import UserError

CONFIG, GENERATION = 'config.json', 'generation_config.json'
SINGLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
PICKLES = ('.bin', '.pt', '.pth', '.ckpt', '.pkl')
_CONVERT = (
    'a pickle can run any program when it is opened, so it is never opened: convert it '
    'with save_pretrained(FOLDER, safe_serialization=True) of transformers and give '
    'that folder'
)


def read_folder(folder: pathlib.Path) -> Checkpoint:
    """The checkpoint of a folder, no tensor of it read.

    Args:
        folder: with `config.json` and `model.safetensors`, or the shards that
            `model.safetensors.index.json` names.

    Raises:
        UserError: a file is missing, damaged, or disagrees with another.
    """
    return Checkpoint(
        config=read_config(folder),
        tensors=_tensors(folder),
        generation=_object(folder / GENERATION),
        where=str(folder),
    )


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """The `config.json` of a folder.

    Raises:
        UserError: it is not there, or not a JSON object with a `model_type`.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(
            f'model.path: {folder} has no {CONFIG}; give the folder of a model of '
            'Hugging Face, a .gguf file, or a folder with model.json'
        )
    config = _object(file)
    if 'stages' in config:  # a run that made no base
        raise UserError(
            f'model.path: {folder} is the folder of a run, which has no base of its '
            f'own; give the one that it was trained on, which {CONFIG} names'
        )
    if not isinstance(config.get('model_type'), str):
        raise UserError(
            f'model.path: {file} names no model_type; copy the config that belongs to '
            'the weights'
        )
    return config


def refuse_pickle(file: pathlib.Path) -> UserError:
    """The error of a file that is never opened."""
    return UserError(f'model.path: {file} is a pickle; {_CONVERT}')


def _tensors(folder: pathlib.Path) -> dict[str, Tensor]:
    if (folder / SINGLE).is_file():
        return tensors_in(folder / SINGLE)
    if (folder / INDEX).is_file():
        return _shards(folder)
    pickles = sorted(x for x in folder.iterdir() if x.suffix in PICKLES)
    if pickles:
        raise refuse_pickle(pickles[0])
    raise UserError(
        f'model.path: {folder} has neither {SINGLE} nor {INDEX}; copy the weights into '
        'it'
    )


def _shards(folder: pathlib.Path) -> dict[str, Tensor]:
    """The tensors of all shards, each in the shard that the index says."""
    file_of = _object(folder / INDEX).get('weight_map')
    names = file_of.values() if isinstance(file_of, dict) else [None]
    if not all(isinstance(x, str) and pathlib.Path(x).name == x for x in names):
        raise UserError(
            f'model.path: {folder / INDEX} has no weight_map from tensors to files of '
            'its folder; copy it again'
        )
    found: dict[str, Tensor] = {}
    for shard in sorted(set(file_of.values())):
        if not (folder / shard).is_file():
            raise UserError(
                f'model.path: {folder} lacks the shard {shard}, which {INDEX} names; '
                'copy it too'
            )
        own = tensors_in(folder / shard)
        said = {name for name, file in file_of.items() if file == shard}
        for name in sorted(own.keys() ^ said):
            has = 'has' if name in own else 'lacks'
            raise UserError(
                f'model.path: {folder / shard} {has} {name}, {INDEX} says otherwise; '
                'copy index and shards of one model'
            )
        found |= own
    return found


def _object(file: pathlib.Path) -> dict[str, Any]:
    try:
        return jsonl.load(file)
    except UserError:
        raise UserError(
            f'model.path: {file} is not a JSON object; copy it again'
        ) from None
    except OSError as error:
        raise damaged(file, error) from None
