"""The package's version; `setup.cfg` takes it from here."""

__version__ = "0.1.0"


def version() -> str:
    return __version__
