"""How exact Winograd's convolutions are, and when they are chosen."""

import dataclasses

import numpy as np
import pytest
from cases.execution import run
from references import conv as reference

from nbcnn import config
from nbcnn.graph.choosing import select
from nbcnn.kernels.cpu import conv_winograd, conv_winograd_dw
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.tensor import Tensor, TensorSpec
from nbcnn.runtime.cpu import CpuDevice

# Of the largest result, for numbers from N(0, 1).
BOUNDS = {f"winograd_f{out}": bounds for out, bounds in conv_winograd.ERRORS.items()}
KERNELS = sorted(conv_winograd.ERRORS[conv_winograd.LARGE])
FORWARD = [conv_winograd.conv2d, conv_winograd.conv2d_f2]
INPUT_GRADIENT = [conv_winograd.dx, conv_winograd.dx_f2]
WEIGHT_GRADIENT = [conv_winograd_dw.dw, conv_winograd_dw.dw_f2]
DEVICE = CpuDevice(2)


def normal(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape, np.float32)


def spec_of(op, inputs):
    return op.spec(*(TensorSpec(a.shape, "float32") for a in inputs))


def error(found, wanted):
    return np.abs(found - wanted.reshape(found.shape)).max() / np.abs(wanted).max()


def name_of(impl):
    return impl.name


kernel_sizes = pytest.mark.parametrize("kernel", KERNELS, ids=lambda sides: "{}x{}".format(*sides))


@pytest.mark.parametrize("impl", FORWARD, ids=name_of)
@kernel_sizes
@pytest.mark.parametrize("channels", [16, 64, 512])
def test_forward_error(impl, kernel, channels):
    check_forward(impl, kernel, (4, 12, 12, channels), 48)


@pytest.mark.parametrize("impl", FORWARD, ids=name_of)
@kernel_sizes
def test_forward_error_of_2048_channels(impl, kernel):
    check_forward(impl, kernel, (1, 8, 8, 2048), 8)


def check_forward(impl, kernel, x, filters):
    op, inputs = Conv2D(padding="same"), [normal(*x), normal(*kernel, x[3], filters)]
    wanted = reference.conv2d(spec_of(op, inputs), *inputs)
    assert error(run(impl, op, inputs, DEVICE)[0], wanted) <= BOUNDS[impl.name][kernel]


@pytest.mark.parametrize("impl", INPUT_GRADIENT, ids=name_of)
@kernel_sizes
@pytest.mark.parametrize("filters", [64, 512])
def test_input_gradient_error(impl, kernel, filters):
    x = (4, 12, 12, 48)
    inputs = [normal(4, 12, 12, filters), normal(*kernel, 48, filters)]
    op = Conv2DInputGradient(padding="same", shape=x)
    wanted = reference.conv2d_dx(spec_of(op, inputs), *inputs)
    assert error(run(impl, op, inputs, DEVICE)[0], wanted) <= BOUNDS[impl.name][kernel]


@pytest.mark.parametrize("impl", WEIGHT_GRADIENT, ids=name_of)
@kernel_sizes
@pytest.mark.parametrize("images", [1, 32])
def test_weight_gradient_error(impl, kernel, images):
    inputs = [normal(images, 32, 32, 64), normal(images, 32, 32, 80)]
    op = Conv2DKernelGradient(padding="same", shape=(*kernel, 64, 80))
    wanted = reference.conv2d_dw(spec_of(op, inputs), *inputs)
    assert error(run(impl, op, inputs, DEVICE)[0], wanted) <= BOUNDS[impl.name][kernel]


@pytest.mark.parametrize("impl", FORWARD, ids=name_of)
@pytest.mark.parametrize("pool", [{}, {"pool": 2, "ph": 2, "pw": 2}], ids=["plain", "pool"])
def test_what_is_no_number_is_not_lost(impl, pool):
    """It may reach the rest of its tile, and no other images."""
    x = normal(4, 8, 8, 16)
    x[1, 3, 2, 3], x[2, 0, 7, 15] = np.nan, np.inf
    op, inputs = Conv2D(padding="same", act=1, **pool), [x, normal(3, 3, 16, 40)]
    with np.errstate(invalid="ignore"):
        wanted = reference.conv2d(spec_of(op, inputs), *inputs)
    wanted = wanted[0] if pool else wanted
    found = run(impl, op, inputs, DEVICE)[0]
    assert not np.isfinite(found[~np.isfinite(wanted)]).any()
    assert np.isfinite(found[[0, 3]]).all()


def chosen(x, w, form):
    """Which implementations take the three passes."""
    n, h, wd, _ = x
    y = (n, h, wd, w[3])
    config.set_winograd(form)
    try:
        for op, shapes in (
            (Conv2D(padding="same"), (x, w)),
            (Conv2DInputGradient(padding="same", shape=x), (y, w)),
            (Conv2DKernelGradient(padding="same", shape=w), (x, y)),
        ):
            tensors = [Tensor(shape) for shape in shapes]
            yield select(op, tensors, DEVICE)[1].impl.name
    finally:
        config.set_winograd("auto")


@pytest.mark.parametrize("form, name", [("auto", "winograd_f4"), ("f2", "winograd_f2")])
def test_which_form_is_chosen(form, name):
    assert set(chosen((8, 32, 32, 64), (3, 3, 64, 64), form)) == {name}


def test_winograd_can_be_ruled_out():
    names = chosen((8, 32, 32, 64), (3, 3, 64, 64), "off")
    assert not [name for name in names if name.startswith("winograd")]


@pytest.mark.parametrize("transposed", [False, True], ids=["forward", "input gradient"])
def test_transforms_of_kernels_that_hold_still_are_kept(transposed):
    """Of others, where tiles are few, each task transforms what it needs."""
    shape = (1, 16, 16, 256)
    op = Conv2DInputGradient(padding="same", shape=shape) if transposed else Conv2D(padding="same")
    tensors = [Tensor(shape), Tensor((3, 3, 256, 256))]
    for fixed in (False, True):
        spec, choice = select(dataclasses.replace(op, fixed=fixed), tensors, DEVICE)
        assert choice.impl.name == "winograd_f4"
        assert conv_winograd.deep(spec, DEVICE.caps, conv_winograd.LARGE) != fixed


@pytest.mark.parametrize("filters", [64, 80])
@pytest.mark.parametrize("images", [1, 3, 4])
def test_few_tiles(images, filters):
    """As many tasks as there are, cut by the rows of a product's tile."""
    op, inputs = Conv2D(padding="same"), [normal(images, 8, 8, 16), normal(3, 3, 16, filters)]
    wanted = reference.conv2d(spec_of(op, inputs), *inputs)
    for impl in FORWARD:
        assert error(run(impl, op, inputs, DEVICE)[0], wanted) <= BOUNDS[impl.name][3, 3]


def test_forcing_overrides_the_setting():
    with config.force("conv2d=winograd_f4"):
        assert next(chosen((8, 32, 32, 64), (3, 3, 64, 64), "off")) == "winograd_f4"


def test_a_changed_setting_changes_the_model():
    """A step that has been made is not run with other kernels than the setting asks for."""
    import nbcnn
    from nbcnn import layers

    model = nbcnn.Sequential(
        [nbcnn.Input((16, 16, 16)), layers.Conv2D(16, 3, padding="same"), layers.Flatten()]
    )
    x = normal(4, 16, 16, 16)
    results = []
    for form in ("auto", "off", "auto"):
        config.set_winograd(form)
        try:
            results.append(model.predict(x, verbose=0))
        finally:
            config.set_winograd("auto")
    assert (results[0] != results[1]).any()
    assert (results[0] == results[2]).all()


@pytest.mark.parametrize(
    "side, name", [(2, "winograd_f2"), (5, "winograd_f2"), (6, "winograd_f2"), (8, "winograd_f4")]
)
def test_small_maps_take_small_tiles(side, name):
    assert set(chosen((64, side, side, 64), (3, 3, 64, 64), "auto")) == {name}
