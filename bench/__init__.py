"""Scripts, which import each other as neighbours; so that `python -m bench.devices` works too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
