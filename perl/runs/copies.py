"""What several runs share, copied from the run that made it."""

import pathlib
import shutil
from collections.abc import Iterable


def copy_parts(source: pathlib.Path, run: pathlib.Path, parts: Iterable[str]) -> None:
    """Copies folders of one run into another, each of them whole or not at all.

    Args:
        source: the run that has them.
        run: the folder of the other; what it has already stays.
        parts: folders in both, such as `tokenizer` or `sft/adapter`.
    """
    for part in parts:
        if not (run / part).is_dir():
            unfinished = run / f'{part}.unfinished'
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(source / part, unfinished)
            unfinished.rename(run / part)
