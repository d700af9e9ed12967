import importlib
import json
import os
import subprocess
import sys

import pytest

import nbcnn
from nbcnn.layers.variable import shapes_only
from nbcnn.runtime import cuda

PARAMETERS = {  # as real Keras counts them
    "lenet5": 61_706,
    "convnet": 34_826,
    "vgg": 1_189_962,
    "resnet20": 274_042,
    "mobile": 139_722,
    "seed256": 16_423_720,
}


@pytest.fixture(scope="module")
def bench(root):
    """A function that imports a module of bench/ by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "bench")
        yield importlib.import_module


@pytest.fixture(scope="module")
def model_set(bench):
    return bench("model_set")


@pytest.mark.parametrize("name", PARAMETERS)
def test_models_have_the_parameters_of_keras(name, model_set):
    model = model_set.MODELS[name].build(nbcnn)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (None, model_set.MODELS[name].classes)


def test_the_zoo_is_measured_at_the_sizes_of_its_settings(bench):
    for name, setting in bench("model_set_zoo").MODELS.items():
        with shapes_only():
            model = setting.build(nbcnn)
        assert model.input_shape[1:] == setting.shape, name
        classes = (setting.classes,) if "sparse" in setting.loss else ()
        assert model.output_shape[1:] == (*setting.labels, *classes), name


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


def test_every_operation_of_the_benchmark_has_a_kernel(bench):
    cases, ops_nbcnn = bench("op_cases").CASES, bench("ops_nbcnn")
    device = nbcnn.get_device("cpu")
    assert len(cases) >= 150
    assert len({(case.what, case.name) for case in cases}) == len(cases)
    for case in cases:
        graph, dy = ops_nbcnn.graph_of(case, device)
        timed = ops_nbcnn.measured(case, graph, dy)
        assert timed, case
        for node in timed:
            assert ops_nbcnn.select(node.op, node.inputs, device)[1] is not None, (case, node)


def test_an_operation_is_measured_without_peers(root, python, tmp_path):
    file = tmp_path / "ops.json"
    arguments = ("--cases", "odd 64x17x13x5,777x77", "--rounds", "1", "--seconds", "0")
    for _ in range(2):  # the second run finds its file
        printed = python(root / "bench" / "ops.py", *arguments, "--peers", "none", "--json", file)
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert [r["what"] for r in results] == ["forward", "dx", "dw", "both"]
    assert all(r["ms"] > 0 and r["regret"] >= 1 and "ratio" not in r for r in results)
    assert "4 cases" in printed


def test_passes_over_an_operation_are_joined(bench):
    ops = bench("ops")
    common = {"case": "c", "what": "dx"}
    slow = {"ms": 4.0, "gflops": 1.0, "others_ms": {"plain": 3.0}, "torch_ms": {"a": 2.0, "b": 9.0}}
    fast = {"ms": 2.0, "gflops": 2.0, "others_ms": {"plain": 5.0}, "torch_ms": {"a": 6.0, "b": 3.0}}
    for first, second in ((slow, fast), (fast, slow)):
        row = ops.joined(common | first, common | second)
        assert (row["ms"], row["gflops"], row["others_ms"]) == (2.0, 2.0, {"plain": 3.0})
        assert row["torch_ms"] == {"a": 2.0, "b": 3.0}
        assert (row["ratio"], row["regret"]) == (1.0, 1.0)


def test_workers_answer_and_tell_their_errors(bench):
    workers = bench("workers")
    with workers.Worker("engine_steps.py", "lenet5", 1, 2, 28) as worker:
        assert worker.ask("predict", seconds=0) > 0
        with pytest.raises(workers.WorkerError, match="KeyError: 'unheard_of'"):
            worker.ask("unheard_of")
        assert worker.ask("predict", seconds=0) > 0
    with (
        workers.Worker("engine_steps.py", "no_such_model", 1, 2, 28) as worker,
        pytest.raises(workers.WorkerError, match="no_such_model"),
    ):
        worker.ask("predict", seconds=0)


def test_ratios_are_to_the_best_peer(bench):
    tables = bench("tables")
    speeds = {"nbcnn": 30.0, "eager": 10.0, "jax": 20.0}
    train = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    memory = {"nbcnn": {"growth": 50}, "eager": {"growth": 100}}
    assert tables.best_peer("train", train) == "jax"
    assert tables.ratio("train", train) == 1.5
    assert tables.ratio("train", train, "eager") == 3.0
    assert tables.ratio("memory", memory) == 2.0
    assert tables.ratio("train", {"nbcnn": train["nbcnn"]}) is None
    result = {"models": {"lenet5": {"train": train}, "vgg": {"train": train}}}
    assert "geometric mean 1.50, least 1.50 (lenet5)" in tables.peers_summary(result)
    assert "| lenet5 | 30 | 10 | **20** | 1.50 |" in tables.peers_table(result, "train")


def test_tables_are_renewed_between_their_marks(bench, tmp_path):
    tables = bench("tables")
    train = {"nbcnn": {"images_per_second": 30.0}, "jax": {"images_per_second": 20.0}}
    result = {"models": {"vgg": {"train": train, "predict": train}, "mobile": {"train": train}}}
    file, _ = tables.MARKS["short"]
    (tmp_path / f"{file}.json").write_text(json.dumps(result), encoding="utf-8")
    text = (
        "a\n<!-- table: short -->\nold\n<!-- /table -->\nb\n<!-- table: ops -->\n<!-- /table -->\n"
    )
    renewed = tables.written(text, tmp_path)
    assert "| vgg | 30 | 20 (Keras-JAX) | 1.50 | 30 | 20 (Keras-JAX) | 1.50 |" in renewed
    assert "mobile" not in renewed
    assert "old" not in renewed
    assert renewed.endswith("b\n<!-- table: ops -->\n<!-- /table -->\n")
    assert tables.written(renewed, tmp_path) == renewed


def test_devices_are_measured_side_by_side_where_there_are_two(root, python, tmp_path):
    file = tmp_path / "devices.json"
    script = root / "bench" / "devices.py"
    printed = python(script, "--tiny", "--models", "lenet5", "--json", file)
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["failed"] == {}
    assert result["left_out"] == []
    assert len(result["layers"]) == 4
    for found in result["layers"].values():
        assert found["cpu"]["ms"] > 0
        assert found["cpu"]["limit_share"] > 0
    model = result["models"]["lenet5"]["cpu"]
    assert set(model["ms"]) == {"forward", "backward", "update", "step", "inference"}
    assert min(model["ms"].values()) > 0
    assert min(model["with_transfers"].values()) > 0
    missing = cuda.missing()
    if missing is None:
        assert set(result["devices"]) >= {"cpu", "cuda"}
        assert result["models"]["lenet5"]["cuda"]["speed_up"]["step"] > 0
    else:
        assert set(result["devices"]) == {"cpu"}
        assert missing in result["missing"]["cuda"]
        assert missing in printed


def test_a_simulated_gpu_stands_beside_the_cpu(root, python, tmp_path):
    file = tmp_path / "devices.json"
    options = ("--tiny", "--models", "none", "--layers", "forward", "--json", file)
    printed = python(root / "bench" / "devices.py", *options, NUMBA_ENABLE_CUDASIM="1")
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["failed"] == {}
    assert result["missing"] == {}
    assert set(result["devices"]) == {"cpu", "cuda"}
    assert set(result["devices"]["cuda"]["limits_giga"]) == {"float32", "copy"}
    for found in result["layers"].values():
        times = found["cpu"]["ms"], found["cuda"]["ms"]
        assert found["cuda"]["speed_up"] == pytest.approx(times[0] / times[1], rel=1e-3)
    assert "| cuda, speed-up |" in printed


def test_a_script_runs_as_a_module_of_its_folder_too(root, python):
    printed = python("-m", "bench.devices", "--help", PYTHONPATH=str(root))
    assert printed.startswith("usage: devices.py")


def test_layers_that_devices_are_compared_by_are_cases(bench):
    figures = bench("device_figures")
    cases = figures.layers_named()
    assert {case.family for case in cases} >= {"convolution 3x3", "depthwise", "dense", "pooling"}
    with pytest.raises(KeyError):
        figures.layers_named(("forward no such layer",))


def test_tables_of_devices_show_what_failed_and_what_is_missing(bench):
    tables = bench("tables")
    row = {"ms": 2.0, "limit_share": 0.5, "gflops": 1.0}
    result = {
        "missing": {"cuda:1": "there is none"},
        "devices": {name: {"limits_giga": {"copy": 3.0}} for name in ("cpu", "cuda")},
        "layers": {"dx a": {"cpu": row, "cuda": row | {"ms": 0.5, "speed_up": 4.0}}, "dw a": {}},
        "models": {},
        "failed": {"dw a (cpu)": "ValueError: no"},
        "left_out": ["vgg (cuda)"],
    }
    text = tables.devices_tables(result)
    assert "cuda:1: there is none" in text
    assert "| dx a | 2 (50%) | 0.5 (50%) | 4 |" in text
    assert "failed: dw a (cpu): ValueError: no" in text
    assert "left out: vgg (cuda)" in text


def test_without_pytorch_the_comparison_on_a_gpu_says_so(root, tmp_path):
    other = tmp_path / "python"
    other.write_text(
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n"
    )
    other.chmod(0o755)
    script = root / "bench" / "peers_cuda.py"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(script), "--torch", str(other)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No module named 'torch'" in done.stderr
    assert "https://pytorch.org" in done.stderr


def test_the_script_for_machines_with_a_gpu_is_a_script(root):
    subprocess.run(["sh", "-n", str(root / "bench" / "gpu_check.sh")], check=True)


def test_tables_of_gpus_show_ratios_and_machine_code(bench):
    tables = bench("tables")
    train = {"nbcnn": {"images_per_second": 30.0}, "graph": {"images_per_second": 20.0}}
    train["nbcnn_host"] = {"images_per_second": 25.0}
    row = {"what": "dx", "case": "a", "chosen": "mma", "ms": 0.5, "gflops": 2000.0}
    row |= {"torch_ms": {"contiguous": 2.0, "channels_last": 1.0}, "ratio": 2.0}
    result = {"precisions": {"tf32": {"models": {"vgg": {"train": train}}}}, "left_out": []}
    text = tables.peers_cuda_summary(result | {"sweep": {"tf32": [row]}})
    assert "train tf32, ratio to PyTorch: mean 1.50 (vgg 1.50)" in text
    assert "| dx a tf32 | mma | 0.5 | 2 | 1 | 2.00 |" in text
    kernel = {"kernel": "m.f", "registers": 90, "spilled": 0, "instructions": 700}
    layer = {"layer": "dx a", "precision": "tf32", "chosen": "mma"}
    layer["kernels"] = [kernel | {"told": {"HGMMA": 8}}, kernel | {"told": {}}]
    text = tables.offline_table({"layers": [layer]})
    assert "| dx a, tf32: mma | m.f | 90 | 0 | 700 | 8 HGMMA |" in text
    assert "|  | m.f | 90 | 0 | 700 |  |" in text
