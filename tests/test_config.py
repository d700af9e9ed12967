"""Settings: defaults, environment, functions, and errors that say what was expected."""

import re
from pathlib import Path

import pytest

from nbcnn import config


@pytest.fixture(autouse=True)
def restored():
    before = config.settings()
    yield
    config._set(**vars(before))


def test_defaults():
    s = config.from_environment({})
    assert (s.device, s.floatx, s.epsilon, s.image_data_format) == (
        None,
        "float32",
        1e-7,
        "channels_last",
    )
    assert (s.conv_algorithm, s.winograd) == ("auto", "auto")
    assert (s.forced, s.fuse, s.verbosity) == ({}, True, frozenset())
    assert s.threads >= 1


def test_environment():
    s = config.from_environment(
        {
            "NBCNN_DEVICE": "cuda:1",
            "NBCNN_NUM_THREADS": "3",
            "NBCNN_FLOATX": "float64",
            "NBCNN_CONV_ALGORITHM": "im2col",
            "NBCNN_WINOGRAD": "f2",
            "NBCNN_FORCE": "conv2d=im2col, conv2d_dw=plain",
            "NBCNN_FUSE": "0",
            "NBCNN_VERBOSE": "select",
        }
    )
    assert (s.device, s.threads, s.floatx, s.conv_algorithm) == ("cuda:1", 3, "float64", "im2col")
    assert s.forced == {"conv2d": "im2col", "conv2d_dw": "plain"}
    assert (s.fuse, s.winograd) == (False, "f2")
    assert s.verbosity == {"select"}


@pytest.mark.parametrize(
    "variable, value, message",
    [
        (
            "NBCNN_NUM_THREADS",
            "two",
            "NBCNN_NUM_THREADS: expected a positive whole number, got 'two'",
        ),
        ("NBCNN_NUM_THREADS", "0", "NBCNN_NUM_THREADS: expected a positive whole number, got 0"),
        (
            "NBCNN_FLOATX",
            "float16",
            "NBCNN_FLOATX: expected one of 'float32', 'float64', got 'float16'",
        ),
        ("NBCNN_CONV_ALGORITHM", "fft", "expected one of 'auto', 'direct', 'im2col', got 'fft'"),
        ("NBCNN_FORCE", "im2col", "NBCNN_FORCE: expected operation=implementation"),
        ("NBCNN_FUSE", "maybe", "NBCNN_FUSE: expected True or False"),
        ("NBCNN_VERBOSE", "all", "NBCNN_VERBOSE: expected one of 'select', got 'all'"),
    ],
)
def test_environment_errors(variable, value, message):
    with pytest.raises(ValueError) as error:
        config.from_environment({variable: value})
    assert message in str(error.value)


def test_a_variable_that_means_nothing_is_told():
    with pytest.warns(UserWarning, match="NBCNN_THREADS means nothing to nbcnn; there are .*NUM_T"):
        config.from_environment({"NBCNN_THREADS": "1", "OTHER": "x"})


def test_all_variables_that_are_read_are_known():
    sources = Path(config.__file__).parent.rglob("*.py")
    read = {name for path in sources for name in re.findall(r"NBCNN_[A-Z_]+", path.read_text())}
    assert read == {*config.ENVIRONMENT, *config.ELSEWHERE}


def test_empty_variables_count_as_absent():
    assert config.from_environment(
        dict.fromkeys(config.ENVIRONMENT, "")
    ) == config.from_environment({})


@pytest.mark.parametrize(
    "setter, getter, value",
    [
        (config.set_floatx, config.floatx, "float64"),
        (config.set_epsilon, config.epsilon, 1e-3),
        (config.set_image_data_format, config.image_data_format, "channels_first"),
        (config.set_num_threads, config.get_num_threads, 5),
        (config.set_conv_algorithm, config.conv_algorithm, "direct"),
        (config.set_winograd, config.winograd, "off"),
        (config.set_fuse, config.fuse, False),
    ],
)
def test_setters(setter, getter, value):
    setter(value)
    assert getter() == value


@pytest.mark.parametrize(
    "setter, value",
    [
        (config.set_floatx, "float16"),
        (config.set_epsilon, 0.0),
        (config.set_epsilon, float("nan")),
        (config.set_epsilon, True),
        (config.set_image_data_format, "NCHW"),
        (config.set_num_threads, 0),
        (config.set_num_threads, 1.5),
        (config.set_num_threads, True),
        (config.set_conv_algorithm, None),
        (config.set_winograd, "f4"),
        (config.set_fuse, 2),
        (config.set_verbosity, "loud"),
        (config.force, "conv2d"),
    ],
)
def test_setters_refuse(setter, value):
    before = config.settings()
    with pytest.raises(ValueError, match=setter.__name__) as error:
        setter(value)
    assert repr(value) in str(error.value)
    assert config.settings() == before


def test_force_nests_and_ends():
    assert config.forced("conv2d") is None
    with config.force("conv2d=im2col"):
        with config.force("conv2d=direct,conv2d_dw=plain"):
            assert (config.forced("conv2d"), config.forced("conv2d_dw")) == ("direct", "plain")
        assert (config.forced("conv2d"), config.forced("conv2d_dw")) == ("im2col", None)
    assert config.forced("conv2d") is None


def test_force_ends_after_an_error():
    with pytest.raises(KeyError), config.force("conv2d=im2col"):
        raise KeyError
    assert config.forced("conv2d") is None


def test_fusing():
    with config.fusing(False):
        assert config.fuse() is False
    assert config.fuse() is True


def test_verbosity():
    config.set_verbosity("select")
    assert "select" in config.verbosity()
    config.set_verbosity("")
    assert not config.verbosity()
