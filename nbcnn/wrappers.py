"""Models as scikit-learn's estimators, which need `pip install 'nbcnn[sklearn]'`.

Their bases are scikit-learn's, so the classes are made when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbcnn.estimators import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nbcnn.wrappers' has no attribute {name!r}")
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise ImportError(
            f"nbcnn.wrappers.{name} needs scikit-learn, which is not installed: "
            "pip install 'nbcnn[sklearn]'"
        ) from error
    found = globals()[name] = getattr(importlib.import_module("nbcnn.estimators"), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
