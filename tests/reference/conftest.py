"""The references: torch, transformers, TRL and PEFT, which `scripts/test` installs."""

import importlib.util
import os

os.environ.setdefault('HF_HUB_OFFLINE', '1')
NEEDED = ('torch', 'transformers', 'trl', 'peft')
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
collect_ignore_glob = ['test_*.py'] if MISSING else []
