"""Files that this package keeps between processes: where, and how they are written."""

import os
import secrets
from pathlib import Path


def base() -> Path:
    """NBCNN_CACHE_DIR or, by default, ~/.cache/nbcnn."""
    chosen = os.environ.get("NBCNN_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.path.expanduser("~")) / ".cache" / "nbcnn"


def write(path: Path, data: bytes) -> None:
    """Write so that another process sees the whole file or none. The umask tells who may read it:
    others, say, where a container's image is built by root and used by somebody else.
    """
    temporary = path.with_name(secrets.token_hex(8) + path.suffix)
    try:
        with temporary.open("xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
