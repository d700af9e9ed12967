"""Configurations as Keras 3 writes them, from and to those of this package.

Both are `{"module", "class_name", "config", "registered_name"}`; the differences are few: names of
models' classes, data types as policies, arguments that only one side has, and operations between
layers.
"""

from collections.abc import Mapping
from typing import Any

from nbcnn.models import graph_config, keras_ops
from nbcnn.registry import FAMILIES, find_custom

FUNCTIONAL = "keras.src.models.functional"
POLICY = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}
MODELS = ("Model", "Sequential", "Functional")
SPATIAL = frozenset({"noise_shape", "trainable"})
# Arguments that Keras's classes do not take, by class.
OWN = {
    "SpatialDropout1D": SPATIAL,
    "SpatialDropout2D": SPATIAL,
    "SpatialDropout3D": SPATIAL,
    "RandomGrayscale": frozenset({"seed"}),
    "Pipeline": frozenset({"trainable", "dtype"}),
    "InputLayer": frozenset({"shape", "batch_size", "trainable"}),
}
OWN_EVERYWHERE = frozenset({"conv_algorithm"})  # how fast, not what
# Arguments of our own that say nothing where they have these values; Keras cannot read others.
OWN_UNSET = {
    "padding_mode": "zeros", "padding_value": 0.0, "flip_filters": False, "return_indices": False,
}  # fmt: skip
ONLY_IF_GIVEN = frozenset({"activity_regularizer"})
INPUT = {"sparse": False, "ragged": False, "optional": False}
# Arguments of Keras's that may be left out where they say that something is not done.
OFF = {
    "quantization_config": None,
    "synchronized": False,
    "renorm": False,
    "renorm_clipping": None,
    "rms_scaling": False,
    "sparse": False,
    "ragged": False,
    "optional": False,
}
WITH_RENORM = {"renorm_momentum"}  # says nothing without `renorm`


# -- writing --------------------------------------------------------------------------------------


def to_keras(value: Any) -> Any:
    """Keras's form of what `registry.serialize` returned, at any depth."""
    if isinstance(value, (list, tuple)):
        return [to_keras(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if not {"class_name", "config"} <= set(value):
        return {key: to_keras(item) for key, item in value.items()}
    name, config = value["class_name"], value["config"]
    if name == graph_config.OPERATION:
        return keras_ops.described(value)
    if name in (graph_config.TENSOR, "__numpy__", "function") or not isinstance(config, Mapping):
        return dict(value)
    rest = {key: to_keras(item) for key, item in value.items() if key != "config"}
    own = value.get("registered_name") is None
    if own and name in MODELS:
        return {**rest, **_model(name, config)}
    return {**rest, "config": _arguments(name, config, own and "trainable" in config)}


def _model(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: to_keras(item) for key, item in config.items()}
    if name == "Sequential":
        return {"module": "keras", "config": inner}
    where = {"module": FUNCTIONAL, "class_name": "Functional", "registered_name": "Functional"}
    return {**where, "config": inner}


def _arguments(name: str, config: Mapping[str, Any], is_layer: bool) -> dict[str, Any]:
    given = {key: to_keras(item) for key, item in config.items()}
    if not is_layer:
        return given
    dropped = OWN_EVERYWHERE | OWN.get(name, frozenset())
    dropped |= {key for key in ONLY_IF_GIVEN if given.get(key) is None}
    dropped |= {key for key, unset in OWN_UNSET.items() if given.get(key) == unset}
    kept = {key: item for key, item in given.items() if key not in dropped}
    if name == "InputLayer":
        return {**kept, **INPUT}
    if name == "RandomShear":  # Keras takes a number for a pair about 0, and not the pair
        pairs = {key: kept[key] for key in ("x_factor", "y_factor")}
        kept.update({key: high for key, (low, high) in pairs.items() if low == -high})
    if isinstance(kept.get("dtype"), str):
        kept["dtype"] = {**POLICY, "config": {"name": kept["dtype"]}}
    return kept


# -- reading --------------------------------------------------------------------------------------


def from_keras(value: Any) -> Any:
    """What `registry.deserialize` takes, from Keras's form, at any depth.

    Raises ValueError for functions that are given as code.
    """
    if isinstance(value, list):
        return [from_keras(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if not {"class_name", "config"} <= set(value):
        return {key: from_keras(item) for key, item in value.items()}
    name, config = value["class_name"], value["config"]
    if name in (graph_config.TENSOR, "__numpy__", "DTypePolicy"):
        return dict(value)
    if name == "function" and _is_known(value, config):
        return config
    found = {key: from_keras(item) for key, item in value.items()}
    for node in found.get("inbound_nodes") or ():
        if isinstance(node, dict) and isinstance(node.get("kwargs"), dict):
            node["kwargs"] = {k: v for k, v in node["kwargs"].items() if (k, v) != ("mask", None)}
    if _is_keras(value) and isinstance(name, str):
        found["registered_name"] = None
        if name == "Functional":
            found.update(module="keras.layers", class_name="Model")
        elif name in MODELS:
            found["module"] = "keras.layers"
        elif isinstance(config, Mapping) and not keras_ops.is_operation(value):
            found["config"] = _without_off(name, found["config"])
    return found


def _is_keras(value: Mapping[str, Any]) -> bool:
    """Whether it names a class of Keras's own, and none of the user's takes its place."""
    module, name = value.get("module"), value.get("class_name")
    own = isinstance(module, str) and (module == "keras" or module.startswith("keras."))
    return own and (not isinstance(name, str) or find_custom(name) is None)


def _is_known(value: Mapping[str, Any], name: Any) -> bool:
    """Whether it names a function of Keras's own: a loss, a metric, an activation."""
    if not isinstance(name, str) or value.get("module") not in ("builtins", None):
        return False
    return find_custom(name) is None and any(name in f.members for f in FAMILIES.values())


def _without_off(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    known = _fields(name)
    if known is None:
        return dict(config)
    off = {key for key, value in OFF.items() if key in config and config[key] == value}
    off |= {key for key in WITH_RENORM if not config.get("renorm")}
    return {key: item for key, item in config.items() if key in known or key not in off}


def _fields(name: str) -> Any:
    family = FAMILIES["keras.layers"]
    family.load(name)
    return getattr(family.members.get(name), "fields", None)
