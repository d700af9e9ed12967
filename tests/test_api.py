"""The public names, and that importing costs next to nothing."""

import inspect
import types

import pytest

import nbcnn


def test_every_public_name_is_there():
    for name in dir(nbcnn):
        assert getattr(nbcnn, name) is not None, name
    assert set(nbcnn.MODULES) | set(nbcnn.NAMES) <= set(dir(nbcnn))
    with pytest.raises(AttributeError, match="no attribute 'Sequentail'"):
        _ = nbcnn.Sequentail


@pytest.mark.parametrize("name", nbcnn.MODULES)
def test_modules_list_what_they_offer(name):
    module = getattr(nbcnn, name)
    assert isinstance(module, types.ModuleType)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.{public}"


COMMON = {
    "": "Input InputSpec Model Sequential Layer Variable KerasTensor set_device device devices "
    "DeviceError",
    "layers": "Conv2D Dense MaxPooling2D AveragePooling2D Flatten Dropout BatchNormalization Input",
    "models": "Model Sequential load_model save_model clone_model model_from_json",
    "saving": "load_model save_model load_weights register_keras_serializable CustomObjectScope",
    "callbacks": "Callback EarlyStopping ModelCheckpoint LearningRateScheduler LambdaCallback",
    "utils": "set_random_seed to_categorical PyDataset clear_session",
    "optimizers": "SGD RMSprop Adam AdamW schedules get",
    "backend": "backend clear_session floatx epsilon image_data_format standardize_dtype",
    "tree": "flatten map_structure pack_sequence_as is_nested",
    "random": "normal uniform randint SeedGenerator",
    "datasets": "digits",
}


@pytest.mark.parametrize("module", COMMON)
def test_the_names_of_everyday_scripts(module):
    holder = getattr(nbcnn, module) if module else nbcnn
    for name in COMMON[module].split():
        assert hasattr(holder, name), f"{module}.{name}"


FIT = """x y batch_size epochs verbose callbacks validation_split validation_data shuffle
class_weight sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size
validation_freq"""
COMPILE = "optimizer loss loss_weights metrics weighted_metrics"


def test_signatures_are_keras_ones():
    fit = list(inspect.signature(nbcnn.Model.fit).parameters)[1:]
    assert " ".join(fit) == " ".join(FIT.split())
    compile = list(inspect.signature(nbcnn.Model.compile).parameters)[1:]
    assert " ".join(compile[:5]) == COMPILE


def test_public_methods_are_explained():
    for cls in (nbcnn.Model, nbcnn.Sequential):
        for name, member in inspect.getmembers(cls, callable):
            if not name.startswith("_") and member.__qualname__.startswith(("Model", "Trainer")):
                assert inspect.getdoc(member), f"{cls.__name__}.{name}"


def test_importing_loads_neither_numba_nor_scipy(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, nbcnn\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'numba', 'scipy', 'tqdm', 'llvmlite', 'numpy'}, loaded\n"
        "nbcnn.Sequential([nbcnn.Input((4,)), nbcnn.layers.Dense(2)]).count_params()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'numba', 'scipy', 'llvmlite'}, loaded\n"
    )
    python(script)


def test_version_is_a_number_and_a_function():
    assert nbcnn.version() == nbcnn.__version__
    assert all(part.isdigit() for part in nbcnn.__version__.split("."))


def test_random_arrays():
    nbcnn.utils.set_random_seed(1)
    first = nbcnn.random.normal((4, 3))
    nbcnn.utils.set_random_seed(1)
    assert (nbcnn.random.normal((4, 3)) == first).all()
    assert first.dtype == "float32"
    seed = nbcnn.random.SeedGenerator(3)
    a, b = (nbcnn.random.uniform((5,), 2, 3, seed=seed) for _ in range(2))
    assert (a != b).any()
    assert ((a >= 2) & (a < 3)).all()
    assert abs(nbcnn.random.truncated_normal((1000,), 1.0, 0.5, seed=0) - 1).max() <= 1
    assert sorted(nbcnn.random.shuffle([3, 1, 2], seed=0)) == [1, 2, 3]
    assert set(nbcnn.random.randint((100,), 0, 3, seed=0)) == {0, 1, 2}


def test_devices_are_listed():
    assert nbcnn.devices()[0] == "cpu"
