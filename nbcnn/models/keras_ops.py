"""Bare operations between layers, as Keras's files describe them: classes of `keras.ops`."""

from collections.abc import Callable, Mapping
from typing import Any

from nbcnn.declare import snake_case

# Functions of `nbcnn.ops` that are classes in Keras's files, by module.
MODULES = {
    "nn": """relu relu6 sigmoid softplus softsign soft_shrink sparse_plus silu squareplus
        log_sigmoid leaky_relu hard_sigmoid hard_silu elu selu gelu celu tanh_shrink hard_tanh
        hard_shrink threshold softmax log_softmax max_pool average_pool normalize""",
    "math": "rsqrt erf erfc erfinv logsumexp",
    "core": "cast stop_gradient",
    "numpy": """absolute abs add all any amax amin arccos arccosh arcsin arcsinh arctan arctan2
        arctanh average bitwise_and bitwise_not bitwise_or bitwise_xor broadcast_to cbrt ceil clip
        concatenate cos cosh cumprod cumsum divide equal exp exp2 expand_dims expm1 flip floor
        floor_divide greater greater_equal hypot isfinite isinf isnan less less_equal log log10
        log1p log2 logaddexp logical_and logical_not logical_or matmul max maximum mean min minimum
        mod moveaxis multiply negative not_equal ones_like pad power prod ravel reciprocal repeat
        reshape roll round sign sin sinh sqrt square squeeze stack std subtract sum swapaxes tan
        tanh tile transpose true_divide var where zeros_like""",
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}
# Arguments that Keras's classes have and functions here do not, with what they are otherwise.
NAMES = {"newshape": "shape"}  # of arguments, where classes and functions differ
UNUSED = {"sparse": False, "variable": None}
UNARY = {  # functions with parameters: Keras's class, and its arguments from alpha and beta
    "leaky_relu": ("LeakyRelu", lambda a, b: {"negative_slope": a}),
    "elu": ("Elu", lambda a, b: {"alpha": a}),
    "celu": ("Celu", lambda a, b: {"alpha": a}),
    "clip": ("Clip", lambda a, b: {"x_min": a, "x_max": b}),
    "gelu": ("Gelu", lambda a, b: {"approximate": False}),
    "gelu_tanh": ("Gelu", lambda a, b: {"approximate": True}),
    "hard_shrink": ("HardShrink", lambda a, b: {"threshold": a}),
    "soft_shrink": ("SoftShrink", lambda a, b: {"threshold": a}),
    "squareplus": ("Squareplus", lambda a, b: {"b": a}),
}
RESHAPES = ("reshape", "flatten", "batch_reshape", "squeeze", "expand_dims")


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a model's layers is an operation in Keras's form."""
    module = entry.get("module")
    return isinstance(module, str) and module.startswith(("keras.src.ops.", "keras.ops"))


def caller(entry: Mapping[str, Any]) -> Callable[..., Any]:
    """What a node of that entry calls. Raises ValueError for operations that are not known."""
    from nbcnn import ops

    name = snake_case(str(entry["class_name"]))
    if name == "get_item":
        return lambda x, key: x[tuple(key) if isinstance(key, list) else key]
    function = getattr(ops, name, None) if name in MODULE_OF else None
    if function is None:
        raise ValueError(f"the operation {entry['class_name']!r} of {entry['module']} is unknown")
    given = {NAMES.get(k, k): _tupled(v) for k, v in entry["config"].items() if k != "name"}
    for key, value in UNUSED.items():
        if key in given and given[key] == value:
            del given[key]

    def call(*args: Any, **kwargs: Any) -> Any:
        if name == "clip":
            return function(*args, given["x_min"], given["x_max"])
        if name == "pad":
            widths, mode = given["pad_width"], given.get("mode", "constant")
            return function(args[0], widths, mode, *args[1:], **kwargs)
        return function(*args, **given, **kwargs)

    return call


def described(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Keras's form of an operation's entry. Raises ValueError for those it has no class for."""
    operation, settings = entry["config"]["operation"], entry["config"]["settings"]
    shape = entry["config"]["shape"]
    try:
        name, config, more = _translated(operation, settings, shape)
    except (KeyError, ValueError):
        what = settings.get("function", operation)
        raise ValueError(
            f"the operation {what!r} ({entry['name']!r}) has no place in Keras's files; use it in "
            "the `call` of a layer of your own, or save to .nbcnn"
        ) from None
    module = f"keras.src.ops.{MODULE_OF.get(snake_case(name), 'numpy')}"
    nodes = [_node(operation, node, more) for node in entry["inbound_nodes"]]
    return {
        "module": module,
        "class_name": name,
        "config": {"name": entry["name"], **config},
        "registered_name": name,
        "name": entry["name"],
        "inbound_nodes": nodes,
    }


def _translated(operation: str, s: Mapping[str, Any], shape: list) -> tuple[str, dict, list]:
    """Keras's class, its arguments, and what its call takes beside tensors."""
    if operation in ("unary", "binary"):
        function = s["function"]
        if operation == "binary" and s.get("act"):
            raise ValueError(function)
        if function in UNARY and operation == "unary":
            name, make = UNARY[function]
            return name, make(s["alpha"], s["beta"]), []
        if function not in MODULE_OF or (operation == "unary" and (s["alpha"] or s["beta"])):
            raise ValueError(function)
        return _class_name(function), {}, []
    if operation in RESHAPES:
        if shape.count(None) > 1:
            raise ValueError(operation)
        return "Reshape", {"newshape": [-1 if n is None else n for n in shape]}, []
    if operation == "reduce" and s["function"] in ("sum", "mean", "max", "min", "prod"):
        axes = list(range(s["first"], s["last"] + 1))
        return _class_name(s["function"]), {"axis": axes, "keepdims": True}, []
    if operation == "transpose":
        return "Transpose", {"axes": s["perm"]}, []
    if operation == "concat":
        return "Concatenate", {"axis": s["axis"]}, []
    if operation == "pad":
        return "Pad", {"pad_width": s["widths"], "mode": "constant"}, [s["value"]]
    if operation == "slice":
        ranges = [{"start": a, "stop": b, "step": c} for a, b, c in s["ranges"]]
        return "GetItem", {}, [[{"class_name": "__slice__", "config": r} for r in ranges]]
    if operation == "cast":
        return "Cast", {"dtype": s["dtype"]}, []
    if operation == "matmul" and not (s["tx"] or s["tw"] or s["bias"] or s["act"]):
        return "Matmul", {}, []
    if operation in ("softmax", "log_softmax"):
        return _class_name(operation), {"axis": -1}, []
    if operation in ("where", "stop_gradient"):
        return _class_name(operation), {}, []
    raise ValueError(operation)


def _class_name(function: str) -> str:
    return "".join(part.capitalize() for part in function.split("_"))


def _node(operation: str, node: Mapping[str, Any], more: list) -> dict[str, Any]:
    args = [_plain(value) for value in node["args"]]
    return {"args": [args] if operation == "concat" else [*args, *more], "kwargs": node["kwargs"]}


def _plain(value: Any) -> Any:
    """A constant without axes is a number."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        if not isinstance(value["config"]["value"], list):
            return value["config"]["value"]
    return value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value
