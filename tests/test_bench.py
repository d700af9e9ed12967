import json

import pytest

import nbcnn

PARAMETERS = {  # as real Keras counts them
    "lenet5": 61_706,
    "convnet": 34_826,
    "vgg": 1_189_962,
    "resnet20": 274_042,
    "mobile": 139_722,
    "seed256": 16_423_720,
}


@pytest.fixture(scope="module")
def model_set(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "bench")
        import model_set
    return model_set


@pytest.mark.parametrize("name", PARAMETERS)
def test_models_have_the_parameters_of_keras(name, model_set):
    model = model_set.MODELS[name].build(nbcnn)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (None, model_set.MODELS[name].classes)


def test_every_model_is_counted(model_set):
    assert set(PARAMETERS) == set(model_set.MODELS)


def test_first_fit_is_measured_in_a_new_process(root, python):
    printed = python(root / "bench" / "one_model.py", "first", "lenet5", NBCNN_DEVICE="cpu")
    measured = json.loads(printed.splitlines()[-1])
    assert 0 < measured["import_seconds"] < measured["seconds"]


def test_result_files_name_no_folder_of_a_machine(root):
    for file in (root / "bench" / "results").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        json.loads(text)
        assert '"/' not in text, file.name
