"""Files that this package keeps between processes: where, and how they are written."""

import os
import tempfile
from pathlib import Path


def base() -> Path:
    """NBCNN_CACHE_DIR or, by default, ~/.cache/nbcnn."""
    chosen = os.environ.get("NBCNN_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.path.expanduser("~")) / ".cache" / "nbcnn"


def write(path: Path, data: bytes) -> None:
    """Write so that another process sees the whole file or none."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
