"""One picture of a folder of rows, such as `scripts/benchmark_gpu.sh` writes."""

import argparse
import json
import pathlib
from typing import Any

from matplotlib.figure import Figure

_SHARES = {'gemm_share': 'of a matrix product', 'copy_share': 'of a copy'}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Draws the rows of the JSON files of `--plot` into `benchmark.png` beside them.

    Raises:
        SystemExit: no file has a row with a share.
    """
    rows = read(args.plot)
    drawn = {
        name: {key: row[key] for key in _SHARES if key in row}
        for name, row in rows.items()
        if 'gemm_share' in row
    }
    profiles = {name: row['profile'] for name, row in rows.items() if 'profile' in row}
    if not drawn:
        raise SystemExit(f'--plot={args.plot}: no JSON file there has a gemm_share')
    file = pathlib.Path(args.plot, 'benchmark.png')
    figure = Figure(figsize=(5 * (1 + bool(profiles)), 1 + 0.6 * len(drawn)))
    axes = figure.subplots(1, 1 + bool(profiles), squeeze=False)[0]
    _bars(axes[0], drawn)
    if profiles:
        _times(axes[1], profiles)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    return {'plot': str(file), 'rows': len(drawn)}


def read(folder: str) -> dict[str, dict]:
    """The rows of a folder by the name of their file."""
    files = sorted(pathlib.Path(folder).glob('*.json'))
    return {file.stem: json.loads(file.read_text()) for file in files}


def _bars(axes, rows):
    """How much of the measured ceilings each row reached."""
    for i, (key, label) in enumerate(_SHARES.items()):
        places = [at + 0.4 * i for at, row in enumerate(rows.values()) if key in row]
        shares = [row[key] for row in rows.values() if key in row]
        bars = axes.barh(places, shares, 0.38, label=label)
        axes.bar_label(bars, [f'{share:.0%}' for share in shares], padding=2)
    axes.set_yticks([at + 0.2 for at in range(len(rows))], [*rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel('share of what the device reached in the same process')
    axes.legend(fontsize='small')


def _times(axes, profiles):
    """Where the time of a call goes, by kind of operation."""
    kinds = dict.fromkeys(kind for x in profiles.values() for kind in x['kinds'])
    left = [0.0] * len(profiles)
    for kind in kinds:
        widths = [x['kinds'].get(kind, 0) for x in profiles.values()]
        axes.barh(range(len(profiles)), widths, 0.6, left, label=kind)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(profiles)), [*profiles])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel('share of the time of all operations')
    axes.legend(fontsize='small')
