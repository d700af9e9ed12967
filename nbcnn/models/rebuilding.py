"""Models made again from what a file says: of classes that are known here, and not larger than what
the file holds for them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from nbcnn import random_state
from nbcnn.io.files import FormatError
from nbcnn.layers.base import Layer
from nbcnn.layers.variable import Budget
from nbcnn.models.signature import Signature, Slot
from nbcnn.registry import deserialize

SLACK = 1 << 22  # bytes that variables may take beyond what a file holds: states of metrics
# Of what is computed while a model is made, at most so much.
COUNTS = {
    "num_thresholds": 1 << 20,
    "num_classes": 1 << 20,
    "height": 1 << 14,
    "width": 1 << 14,
    "output_size": 1 << 14,
    "size": 1 << 12,
    "n": 1 << 24,
}
DAMAGES = (KeyError, AttributeError, IndexError, RecursionError, MemoryError, TypeError)
Refuse = Callable[[str], NoReturn]


@contextmanager
def limited(stored: int, refuse: Refuse) -> Iterator[None]:
    """Within, new variables have to fit into `stored` bytes twice over; `refuse` says of which
    file, where they do not. The global random generator is afterwards as before.
    """
    before = random_state.get_state()
    try:
        with Budget(2 * stored + SLACK):
            yield
    except Budget.Exceeded as error:
        refuse(f"describes more than it holds: {error}")
    except FormatError:
        raise
    except ValueError as error:
        refuse(str(error))
    except DAMAGES as error:
        refuse(f"describes no model: {error!r}"[:500])
    finally:
        random_state.set_state(before)


def check_counts(value: Any, refuse: Refuse) -> None:
    """Refuse numbers of things that are made before they are variables."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, (list, tuple)):
            pending += each
        elif isinstance(each, Mapping):
            pending += each.values()
            for name, most in COUNTS.items():
                found = each.get(name)
                for count in found if isinstance(found, list) else [found]:
                    if isinstance(count, (int, float)) and count > most:
                        refuse(f"describes more than it holds: {name} is {count}")


def rebuild(config: Any, inputs: Any, refuse: Refuse) -> Any:
    """The model with new weights."""
    if not isinstance(config, dict):
        refuse("has no model")
    check_counts(config, refuse)
    model = deserialize(config)
    if not isinstance(model, Layer) or not hasattr(model, "fit"):
        refuse(f"describes a {type(model).__name__}, which is no model")
    if inputs is not None and model._functional is None:  # type: ignore[attr-defined]
        trace(model, inputs)
    return model


def compile_model(model: Any, config: Any, refuse: Refuse) -> None:
    """Compile as the file says."""
    if not isinstance(config, Mapping):
        refuse("has damaged compile arguments")
    check_counts(config, refuse)
    try:
        model.compile_from_config(config)
    except FormatError:
        raise
    except ValueError as error:
        text = f"cannot restore compile(): {error}; compile=False loads the model without it"
        raise ValueError(text) from error


def inputs_of(model: Any) -> dict[str, Any] | None:
    """What a model without a graph was built on, as plain values."""
    signature = model._input_signature
    if model._functional is not None:
        return None
    if signature is None:
        shape = model._built_for
        if not isinstance(shape, tuple):
            raise ValueError(f"save: {model.name!r} has not seen data yet; call it or fit it first")
        signature = Signature(0, [Slot("input_1", shape, model.value_dtype)])
    return {
        "nesting": signature.template,
        "names": signature.names,
        "shapes": signature.example,
        "dtypes": [slot.dtype for slot in signature.slots],
    }


def trace(model: Any, inputs: Mapping[str, Any]) -> None:
    """Make the weights of a model without a graph, as its first data once did."""
    shapes = [tuple(shape) for shape in inputs["shapes"]]
    slots = [
        Slot(name, (None,) * len(shape), dtype)
        for name, shape, dtype in zip(inputs["names"], shapes, inputs["dtypes"])
    ]
    model._input_signature = Signature(inputs["nesting"], slots, shapes)
    model._output_signature_for(None, None)
