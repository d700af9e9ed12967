"""One case, and what convolutions share."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """name: the network and the shape. family: rows of the summary. kind: which builder makes it.

    what: "forward", "dx", "dw" (gradients of input and weights), "backward" (all gradients) or
    "both" (forward and backward together). args: what the builder needs, JSON's types only.
    """

    name: str
    family: str
    kind: str
    what: str
    args: dict[str, Any]


PASSES = {"f": "forward", "x": "dx", "w": "dw", "b": "backward", "a": "both"}


def text(shape):
    return "x".join(map(str, shape))


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def convolution(net, family, passes, x, filters, kernel, **options):
    """The passes of one convolution; `pad` in pixels on each side, or "same" for odd kernels."""
    kernel, stride = pair(kernel), pair(options.pop("stride", 1))
    dilation = pair(options.pop("dilation", 1))
    pad = options.pop("pad", "same")
    if pad == "same":
        pad = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation))
    args = {
        "x": list(x),
        "w": [*kernel, x[3] // options.get("groups", 1), filters],
        "stride": list(stride),
        "pad": list(pair(pad)),
        "dilation": list(dilation),
        "groups": options.pop("groups", 1),
        "bias": options.pop("bias", False),
        "relu": options.pop("relu", False),
    }
    if options:
        raise TypeError(f"{net}: unknown options {sorted(options)}")
    more = f" s{stride[0]}" if stride != (1, 1) else ""
    more += f" d{dilation[0]}" if dilation != (1, 1) else ""
    more += f" g{args['groups']}" if 1 < args["groups"] < x[3] else ""
    name = f"{net} {text(x)}>{filters} {text(kernel)}{more}"
    return [Case(name, family, "conv2d", PASSES[p], args) for p in passes]
