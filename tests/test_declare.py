import copy
import inspect
import json

import numpy as np
import pytest

from nbcnn import registry
from nbcnn.declare import (
    Declared,
    Expected,
    arg,
    auto_name,
    fraction,
    integers,
    pair,
    positive,
    reset_names,
    snake_case,
)
from nbcnn.registry import CustomObjectScope, Family, deserialize, serialize

shapes = Family("shape", "keras.shapes")


class Shape(Declared, family=shapes):
    colour: str = arg("red", last=True)
    name: str | None = arg(None, kw_only=True)


class Box(Shape):
    width: int = arg(check=positive)
    size: tuple = arg((1, 1), convert=pair, check=positive)
    padding: str = arg("valid", choices=("valid", "same"))
    ratio: float | None = None
    note: "str" = ""


class WideBox(Box, first=("width", "ratio")):
    note = "wide"


class UserBox(Box):
    def __init__(self, half, *, extra=1, **kwargs):
        super().__init__(2 * half, **kwargs)
        self.extra = extra


class ConfiguredBox(UserBox):
    def get_config(self):
        return {**super().get_config(), "mine": 3}


@pytest.fixture(autouse=True)
def known_shapes():
    for cls in (Box, WideBox):
        shapes.add(cls, snake_case(cls.__name__))
    reset_names()
    with CustomObjectScope({"UserBox": UserBox, "Box": Box, "WideBox": WideBox}):
        yield


def test_positional_order_is_own_fields_then_trailing_then_keyword_only():
    assert list(Box.fields) == ["width", "size", "padding", "ratio", "note", "colour", "name"]
    assert list(WideBox.fields)[:3] == ["width", "ratio", "size"]
    signature = (
        "(width, size=(1, 1), padding='valid', ratio=None, note='', colour='red', *, name=None)"
    )
    assert str(inspect.signature(Box)) == signature
    assert "half" in str(inspect.signature(UserBox))


def test_arguments_are_converted_and_stored_under_their_names():
    box = Box(np.int64(3), 2, "SAME", np.float32(0.5))
    assert (box.width, box.size, box.padding, box.ratio) == (3, (2, 2), "same", 0.5)
    assert type(box.width) is int


def test_plain_class_attribute_changes_an_inherited_default():
    assert WideBox(1, 0.5).note == "wide"
    assert Box(1).note == ""


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Box(0), "Box: width must be positive, got 0"),
        (lambda: Box("3"), "Box: width must be an integer, got '3'"),
        (lambda: Box(True), "Box: width must be an integer, got True"),
        (lambda: Box(1, (0, 1)), "Box: size must be positive, got (0, 1)"),
        (lambda: Box(1, (1, 2, 3)), "Box: size must be an integer or a tuple of 2 integers, got"),
        (lambda: Box(1, padding="sme"), "Box: padding must be 'valid' or 'same', got 'sme'"),
        (lambda: Box(1, ratio="x"), "Box: ratio must be None or a number, got 'x'"),
        (lambda: Box(1, note=None), "Box: note must be a string, got None"),
        (lambda: Box(), "Box: argument 'width' is missing"),
        (lambda: Box(1, widht=1), "Box: unknown argument 'widht'; did you mean 'width'?"),
        (lambda: Box(1, width=1), "Box: argument 'width' was given twice"),
        (lambda: Box(*range(9)), "Box: takes at most 6 positional arguments, got 9"),
        (lambda: UserBox(0), "UserBox: width must be positive, got 0"),
    ],
)
def test_errors_name_class_argument_value_and_expectation(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)


def test_converter_errors_are_prefixed():
    def refuse(value):
        raise Expected("must be nice")

    class Odd(Declared):
        thing: object = arg(convert=refuse)
        other: object = arg(0, convert=int)

    with pytest.raises(ValueError, match="Odd: thing must be nice, got 5"):
        Odd(5)
    with pytest.raises(ValueError, match="Odd: other: invalid literal"):
        Odd.fields["other"].prepare("Odd", "other", "x")


def test_required_field_after_optional_is_refused():
    with pytest.raises(TypeError, match="required field 'b' follows optional 'a'"):

        class Wrong(Declared):
            a: int = 1
            b: int


def test_config_round_trip_through_json():
    box = Box(3, size=(2, 4), ratio=0.25)
    config = json.loads(json.dumps(serialize(box)))
    again = deserialize(config)
    assert again.get_config() == box.get_config()
    assert again.size == (2, 4)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Box(3, ratio=0.5, name="b")) == "Box(width=3, ratio=0.5, name='b')"


def test_class_with_own_init_keeps_working():
    box = UserBox(2, extra=5, ratio=0.5)
    assert (box.width, box.extra, box.ratio) == (4, 5, 0.5)
    assert box.get_config() == {"half": 2, "extra": 5, "ratio": 0.5, "name": "user_box"}
    again = deserialize(serialize(box))
    assert (again.width, again.extra, again.name) == (4, 5, "user_box")


def test_own_get_config_extends_the_base_one():
    assert ConfiguredBox(1).get_config()["mine"] == 3
    assert ConfiguredBox(1).get_config()["width"] == 2


def test_objects_can_be_copied():
    assert (
        copy.deepcopy(UserBox(2)).get_config()
        == UserBox.from_config({"half": 2, "name": "user_box"}).get_config()
    )


def test_family_accepts_name_class_instance_configuration_callable_and_none():
    class Plain(Shape):
        pass

    shapes.add(Plain, "plain", "p")
    plain = Plain()
    assert isinstance(shapes.get("p"), Plain)
    assert isinstance(shapes.get("Plain"), Plain)
    assert isinstance(shapes.get(Plain), Plain)
    assert isinstance(shapes.get({"class_name": "Plain", "config": {}}), Plain)
    assert shapes.get(plain) is plain
    assert shapes.get(len) is len
    assert shapes.get(None) is None


@pytest.mark.parametrize(
    "name, message",
    [
        ("wide_bx", "unknown shape 'wide_bx'; did you mean '(wide_box|WideBox)'"),
        ("qqq", "known are"),
    ],
)
def test_unknown_name_suggests_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        shapes.get(name)


def test_get_refuses_other_values():
    with pytest.raises(ValueError, match="expected a shape, its name or its configuration, got 3"):
        shapes.get(3)


def test_configuration_cannot_name_arbitrary_code():
    config = {"module": "os", "class_name": "system", "config": "ls", "registered_name": "system"}
    with pytest.raises(ValueError, match="unknown class or function 'system' of module 'os'"):
        deserialize(config)


def test_registered_class_is_found_by_its_package_name():
    @registry.register_keras_serializable("mine")
    class Disc(Shape):
        def __init__(self, radius, **kwargs):
            super().__init__(**kwargs)
            self.radius = radius

    config = serialize(Disc(3))
    assert config["registered_name"] == "mine>Disc"
    assert deserialize(config).radius == 3
    assert registry.get_registered_name(Disc) == "mine>Disc"
    assert registry.get_registered_object("mine>Disc") is Disc


def test_functions_and_arrays_serialize():
    @registry.register_keras_serializable()
    def twice(x):
        return 2 * x

    assert deserialize(serialize(twice)) is twice
    array = np.arange(3, dtype="int8")
    again = deserialize(serialize({"a": [array, (1, 2.0)]}))
    np.testing.assert_array_equal(again["a"][0], array)
    assert again["a"][0].dtype == "int8"
    assert again["a"][1] == (1, 2.0)
    with pytest.raises(ValueError, match="no get_config"):
        serialize(object())


@pytest.mark.parametrize(
    "name, snake",
    [
        ("Conv2D", "conv2d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("GlobalMaxPooling2D", "global_max_pooling2d"),
        ("ReLU", "re_lu"),
        ("BatchNormalization", "batch_normalization"),
    ],
)
def test_snake_case_is_that_of_keras(name, snake):
    assert snake_case(name) == snake


def test_automatic_names_count_until_reset():
    assert [auto_name("Conv2D") for _ in range(3)] == ["conv2d", "conv2d_1", "conv2d_2"]
    reset_names()
    assert auto_name("Conv2D") == "conv2d"


def test_ready_checks():
    assert fraction(0.5) is None
    assert fraction(2) == "must be between 0 and 1"
    assert integers(3)(np.int32(2)) == (2, 2, 2)
