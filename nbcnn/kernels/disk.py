"""Files that this package keeps between processes: where, how they are written, when they go.

Compiled kernels are in folders whose names are digests of all that they depend on. Each file is
sealed with a checksum: half a file, or one that something else has written to, counts as absent.
"""

import hashlib
import os
import secrets
import time
from pathlib import Path

CHECKSUM = 16  # bytes in front of what is sealed
DIGEST = 16  # hexadecimal digits at the end of a folder's name
KEPT_FOLDERS = 8  # of other versions; the ones unused for longest go first
KEPT_SECONDS = 30 * 24 * 3600


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


def sealed(name: str, code: bytes) -> bytes:
    """`code` as it is stored under this name."""
    return _checksum(name, code) + code


def unsealed(name: str, data: bytes) -> bytes | None:
    """What was sealed under this name; None where that is not whole."""
    checksum, code = data[:CHECKSUM], data[CHECKSUM:]
    return code if checksum == _checksum(name, code) else None


def _checksum(name: str, code: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + code).digest()[:CHECKSUM]


def clean(current: Path, suffix: str) -> None:
    """Remove folders as `current`, of other versions, that nobody used for a month, and all but the
    newest few; of files only those with this suffix.
    """
    kind = current.name[:-DIGEST]
    others = [f for f in current.parent.iterdir() if f != current and _is_of(kind, f)]
    used = {f: f.stat().st_mtime for f in others}
    others.sort(key=used.__getitem__, reverse=True)
    oldest = time.time() - KEPT_SECONDS
    for index, other in enumerate(others):
        if index >= KEPT_FOLDERS or used[other] < oldest:
            _remove(other, suffix)


def _is_of(kind: str, path: Path) -> bool:
    digest = path.name.removeprefix(kind)
    named = len(digest) == DIGEST and path.name == kind + digest
    return named and set(digest) <= set("0123456789abcdef") and path.is_dir()


def _remove(path: Path, suffix: str) -> None:
    """Remove a folder of kernels. Another process may be at it too."""
    try:
        for file in path.iterdir():
            if file.suffix == suffix:
                file.unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        pass
