"""PyTorch's side of `ops.py` and `peers_cuda.py`, a worker: the cases as calls of its operators.

    python ops_torch.py THREADS [DEVICE PRECISION]      as for `torch_gpu.py`

Every case is made in each variant that PyTorch offers (layouts of the maps; ways of updating), each
a call without gradients recorded: backward operators are called by themselves.
"""

import sys

from op_cases.case import Case
from serve import fastest, limit_threads, serve

limit_threads(int(sys.argv[1]))

import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

aten = torch.ops.aten
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def maps(shape, layout):
    """A random map of an NHWC shape, in PyTorch's order of axes and one of its layouts."""
    n, h, w, c = shape
    return torch.randn(n, c, h, w).to(memory_format=LAYOUTS[layout])


def convolution(args, what, layout):
    x = maps(args["x"], layout)
    kh, kw, c, f = args["w"]
    w = torch.randn(f, c, kh, kw).to(memory_format=LAYOUTS[layout])
    b = torch.randn(f) if args["bias"] else None
    stride, pad, dilation, groups = (args[k] for k in ("stride", "pad", "dilation", "groups"))
    y = functional.conv2d(x, w, b, stride, pad, dilation, groups)
    if what == "forward":
        if args["relu"]:
            return lambda: functional.conv2d(x, w, b, stride, pad, dilation, groups).relu_()
        return lambda: functional.conv2d(x, w, b, stride, pad, dilation, groups)
    dy = torch.randn(y.shape).to(memory_format=LAYOUTS[layout])
    wanted = [what == "dx", what == "dw", what == "dw" and args["bias"]]
    sizes = [f] if args["bias"] else None
    rest = (sizes, stride, pad, dilation, False, [0, 0], groups, wanted)
    return lambda: aten.convolution_backward(dy, x, w, *rest)


def along(args, what, layout):
    """Convolutions over one axis or three, lines as images one row high where layouts matter."""
    n, *sizes, c = args["x"]
    f, kernel, stride, dilation = (args[k] for k in ("filters", "kernel", "stride", "dilation"))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if args["transposed"]:
        pad = [max(r - s + 1, 0) // 2 for r, s in zip(reach, stride)]
        more = [s - r + 2 * p for r, s, p in zip(reach, stride, pad)]
        shape = (c, f, *kernel)
    else:
        pad, more, shape = [r // 2 for r in reach], [0] * len(sizes), (f, c, *kernel)
    x, w = torch.randn(n, c, *sizes), torch.randn(shape)
    if layout == "channels_last":
        if len(sizes) == 1:
            x, w = x.unsqueeze(2), w.unsqueeze(2)
            stride, dilation, pad, more = [1, *stride], [1, *dilation], [0, *pad], [0, *more]
        kind = torch.channels_last if len(sizes) < 3 else torch.channels_last_3d
        x, w = x.to(memory_format=kind), w.to(memory_format=kind)
    rest = (stride, pad, dilation, args["transposed"], more, 1)
    if what == "forward":
        return lambda: aten.convolution(x, w, None, *rest)
    dy = torch.randn_like(aten.convolution(x, w, None, *rest))
    wanted = [what == "dx", what == "dw", False]
    return lambda: aten.convolution_backward(dy, x, w, None, *rest, wanted)


def dense(args, what, layout):
    m, k, n = args["m"], args["k"], args["n"]
    x, w, b = torch.randn(m, k), torch.randn(n, k), torch.randn(n)
    dy = torch.randn(m, n)
    if what == "dx":
        return lambda: dy.mm(w)
    if what == "dw":
        return lambda: (dy.t().mm(x), dy.sum(0))
    if args["relu"]:
        return lambda: functional.linear(x, w, b).relu_()
    return lambda: functional.linear(x, w, b)


def maxpool(args, what, layout):
    x = maps(args["x"], layout)
    geometry = ([args["window"]] * 2, [args["stride"]] * 2, [args["pad"]] * 2, [1, 1], False)
    if what == "forward":
        return lambda: aten.max_pool2d_with_indices(x, *geometry)
    y, indices = aten.max_pool2d_with_indices(x, *geometry)
    dy = torch.randn_like(y)
    return lambda: aten.max_pool2d_with_indices_backward(dy, x, *geometry, indices)


def avgpool(args, what, layout):
    x = maps(args["x"], layout)
    geometry = ([args["window"]] * 2, [args["stride"]] * 2, [args["pad"]] * 2, False, False, None)
    if what == "forward":
        return lambda: aten.avg_pool2d(x, *geometry)
    dy = torch.randn_like(aten.avg_pool2d(x, *geometry))
    return lambda: aten.avg_pool2d_backward(dy, x, *geometry)


def batchnorm(args, what, layout):
    x, c = maps(args["x"], layout), args["x"][3]
    gamma, beta = torch.randn(c), torch.randn(c)

    def forward():
        y, mean, scale = aten.native_batch_norm(x, gamma, beta, None, None, True, 0.01, 1e-3)
        return (y.relu_() if args["relu"] else y), mean, scale

    if what == "forward":
        return forward
    y, mean, scale = forward()
    dy = torch.randn_like(y)

    def backward():
        g = aten.threshold_backward(dy, y, 0) if args["relu"] else dy
        return aten.native_batch_norm_backward(
            g, x, gamma, None, None, mean, scale, True, 1e-3, [True, True, True]
        )

    return backward


def layernorm(args, what, layout):
    """Over the channels of NHWC maps, as ConvNeXt has it."""
    x, c = torch.randn(args["x"]), args["x"][3]
    gamma, beta = torch.randn(c), torch.randn(c)
    if what == "forward":
        return lambda: aten.native_layer_norm(x, [c], gamma, beta, 1e-3)
    y, mean, scale = aten.native_layer_norm(x, [c], gamma, beta, 1e-3)
    dy, wanted = torch.randn_like(y), [True, True, True]
    return lambda: aten.native_layer_norm_backward(dy, x, [c], mean, scale, gamma, beta, wanted)


def global_response(args, what, way):
    """Over NHWC maps: as ConvNeXt V2 publishes it, or with the small arrays multiplied first."""
    x, c = torch.randn(args["x"]), args["x"][3]
    gamma, beta = torch.randn(c), torch.randn(c)

    def forward():
        norms = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        shares = norms / (norms.mean(dim=-1, keepdim=True) + 1e-6)
        if way == "published":
            return gamma * (x * shares) + beta + x
        return torch.addcmul(beta, x, gamma * shares + 1)

    return recorded(forward, what, x, gamma, beta)


def recorded(forward, what, *wanted):
    """A pass of what PyTorch has several operators for: backward by what autograd has recorded."""
    if what == "forward":
        return forward
    for tensor in wanted:
        tensor.requires_grad_()
    with torch.enable_grad():
        y = forward()
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)


def kernel(args, layout):
    shape = (args["filters"], args["x"][3], args["kernel"], args["kernel"])
    return torch.randn(shape).to(memory_format=LAYOUTS[layout])


def upsample_conv(args, what, layout):
    x, w, pad = maps(args["x"], layout), kernel(args, layout), args["kernel"] // 2

    def forward():
        return functional.conv2d(functional.interpolate(x, scale_factor=2), w, padding=pad)

    return recorded(forward, what, x, w)


def downsampling(args, what, layout):
    x, w, pad = maps(args["x"], layout), kernel(args, layout), args["kernel"] // 2

    def forward():
        if args["pool"]:
            return functional.max_pool2d(functional.conv2d(x, w, padding=pad), 2)
        return functional.conv2d(x, w, stride=2, padding=pad)

    return recorded(forward, what, x, w)


# function -> forward of x, backward of (dy, x, y)
ACTIVATIONS = {
    "relu": (torch.relu, lambda dy, x, y: aten.threshold_backward(dy, y, 0)),
    "sigmoid": (torch.sigmoid, lambda dy, x, y: aten.sigmoid_backward(dy, y)),
    "tanh": (torch.tanh, lambda dy, x, y: aten.tanh_backward(dy, y)),
    "silu": (functional.silu, lambda dy, x, y: aten.silu_backward(dy, x)),
    "gelu": (functional.gelu, lambda dy, x, y: aten.gelu_backward(dy, x)),
    "relu6": (functional.relu6, lambda dy, x, y: aten.hardtanh_backward(dy, x, 0, 6)),
    "hard_silu": (functional.hardswish, lambda dy, x, y: aten.hardswish_backward(dy, x)),
    "leaky_relu": (
        functional.leaky_relu,
        lambda dy, x, y: aten.leaky_relu_backward(dy, x, 0.01, False),
    ),
    "elu": (functional.elu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, False, x)),
}


def activation(args, what, layout):
    x = maps(args["x"], "contiguous")
    forward, backward = ACTIVATIONS[args["function"]]
    if what == "forward":
        return lambda: forward(x)
    y, dy = forward(x), torch.randn_like(x)
    return lambda: backward(dy, x, y)


def crossentropy(args, what, layout):
    """Losses per row and their gradient, for gradients that come in per row."""
    x = torch.randn(args["rows"], args["classes"])
    labels, dy = torch.randint(0, 4, (args["rows"],)), torch.randn(args["rows"])
    nothing = torch.tensor(0.0)

    def both():
        p = torch.log_softmax(x, 1)
        loss, _ = aten.nll_loss_forward(p, labels, None, 0, -100)
        dp = aten.nll_loss_backward(dy, p, labels, None, 0, -100, nothing)
        return loss, aten._log_softmax_backward_data(dp, p, 1, torch.float32)

    return both


def add_relu(args, what, layout):
    a, b = maps(args["x"], "contiguous"), maps(args["x"], "contiguous")
    return lambda: torch.add(a, b).relu_()


def global_mean(args, what, layout):
    x = maps(args["x"], layout)
    return lambda: x.mean((2, 3))


def scale(args, what, layout):
    x = maps(args["x"], layout)
    s = torch.randn(*x.shape[:2], 1, 1)
    return lambda: x * s


def dropout(args, what, layout):
    x = maps(args["x"], "contiguous")
    return lambda: functional.dropout(x, 0.5, training=True)


def concat(args, what, layout):
    xs = [maps([*args["x"][:3], c], layout) for c in (args["x"][3], *args["others"])]
    return lambda: torch.cat(xs, 1)


def upsampling(args, what, layout):
    x = maps(args["x"], layout)
    n, c, h, w = x.shape
    if what == "forward":
        return lambda: aten.upsample_nearest2d(x, [2 * h, 2 * w])
    dy = maps([n, 2 * h, 2 * w, c], layout)
    return lambda: aten.upsample_nearest2d_backward(dy, [2 * h, 2 * w], [n, c, h, w])


def differentiated(function, what, **leaves):
    """`function` of the leaves, or gradients of one leaf or all, as autograd computes them."""
    if what == "forward":
        return lambda: function(**leaves)
    names = {"dx": ["x"], "dw": ["w"]}.get(what, list(leaves))
    for name in names:
        leaves[name].requires_grad_()
    y = function(**leaves)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, [leaves[n] for n in names], dy, retain_graph=True)


def local(args, what, layout):
    """Windows as columns, then a product for each place."""
    _, h, w, c = args["x"]
    k, s = args["window"], args["stride"]
    places = ((h - k) // s + 1) * ((w - k) // s + 1)
    weights = torch.randn(places, c * k * k, args["filters"])

    def function(x, w):
        return torch.einsum("nkp,pkf->nfp", functional.unfold(x, k, stride=s), w)

    return differentiated(function, what, x=maps(args["x"], "contiguous"), w=weights)


def unpool(args, what, layout):
    image = maps(args["x"], layout)
    pooled, indices = functional.max_pool2d(
        image, args["window"], args["stride"], return_indices=True
    )

    def function(x):
        return functional.max_unpool2d(x, indices, args["window"], args["stride"])

    return differentiated(function, what, x=pooled.clone())


def response(args, what, layout):
    def function(x):
        return functional.local_response_norm(x, 5, 1e-4, 0.75, 2.0)

    return differentiated(function, what, x=maps(args["x"], layout))


def border(args, what, layout):
    b, mode = args["border"], {"edge": "replicate"}.get(args["mode"], args["mode"])

    def function(x):
        if mode == "mean":
            mean = x.mean((2, 3), keepdim=True)
            return functional.pad(x - mean, (b,) * 4) + mean
        return functional.pad(x, (b,) * 4, mode)

    return differentiated(function, what, x=maps(args["x"], layout))


def update(optimizer, **options):
    def build(args, what, way):
        weights = [torch.randn(shape).requires_grad_() for shape in args["shapes"]]
        for w in weights:
            w.grad = torch.randn_like(w)
        return optimizer(weights, 1e-6, **options, **{way: True}).step

    return build


MAPS, FLAT, WAYS = tuple(LAYOUTS), ("plain",), ("foreach", "fused")
BUILDERS = {  # kind -> builder, its variants
    "conv2d": (convolution, MAPS),
    "along": (along, MAPS),
    "dense": (dense, FLAT),
    "maxpool": (maxpool, MAPS),
    "avgpool": (avgpool, MAPS),
    "batchnorm": (batchnorm, MAPS),
    "layernorm": (layernorm, FLAT),
    "upsample_conv": (upsample_conv, MAPS),
    "downsampling": (downsampling, MAPS),
    "global_response": (global_response, ("published", "folded")),
    "activation": (activation, FLAT),
    "crossentropy": (crossentropy, FLAT),
    "add_relu": (add_relu, FLAT),
    "global_mean": (global_mean, MAPS),
    "scale": (scale, MAPS),
    "dropout": (dropout, FLAT),
    "concat": (concat, MAPS),
    "upsampling": (upsampling, MAPS),
    "local": (local, FLAT),
    "recorded": (maxpool, MAPS),
    "unpool": (unpool, MAPS),
    "response": (response, MAPS),
    "border": (border, MAPS),
    "momentum": (update(torch.optim.SGD, momentum=0.9), WAYS),
    "adam": (update(torch.optim.Adam), WAYS),
}

calls = {}


def prepare(case):
    """Make every variant of a case, in place of the last case; returns their names."""
    case = Case(*case)
    builder, variants = BUILDERS[case.kind]
    calls.clear()
    torch.manual_seed(0)
    for variant in variants:
        calls[variant] = builder(case.args, case.what, variant)
    return list(calls)


def burst(variant, seconds):
    with torch.no_grad():
        if torch.get_default_device().type == "cuda":
            return torch_gpu.burst(calls[variant], seconds)
        return fastest(calls[variant], seconds)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    if sys.argv[2:]:
        import torch_gpu

        torch_gpu.choose(*sys.argv[2:])
        torch.set_default_device(sys.argv[2])
        if sys.argv[3] == "bfloat16":
            torch.set_default_dtype(torch.bfloat16)
    serve({"prepare": prepare, "burst": burst})
