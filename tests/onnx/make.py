"""Makes the files of this folder: `python make.py FOLDER`.

It needs torch, onnx, onnxruntime and onnxscript. Networks are written by PyTorch's two exporters;
beside them is what onnxruntime makes of `inputs`, and PyTorch's gradients of the mean squares of
the outputs by all weights, in ascending order of the weights: all differ, so they need no names.
`resnet18` and `mobilenetv2` are by `models/to_onnx.py`, with `--size 32 --classes 10` and `--width`
0.03125 and 0.03.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from networks import NETWORKS
from torch import nn
from torch.fx.experimental.optimization import fuse

KEPT = {"resnet", "mobilenet", "volume"}  # files with batch normalization
NEW = {"efficient", "segmentation", "attention", "detector", "frames"}  # by the newer exporter
VERSIONS = {False: (13, 17, 18), True: (18, 20)}  # of operators, by exporter
CONSTANTS = {"convnext": {"g"}}  # parameters that are constants in the file


def inputs(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def randomized(network):
    """Weights and statistics of no special values, all different."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return network.eval()


def made_different(network):
    seen = set()
    for parameter in network.parameters():
        for i, value in enumerate(parameter.data.view(-1).tolist()):
            while value in seen:
                value = float(np.nextafter(np.float32(value), np.float32(9)))
            seen.add(value)
            parameter.data.view(-1)[i] = value


def export(name, network, x, path, number):
    new, any_batch = name in NEW, number % 2 == 0
    version = VERSIONS[new][number % len(VERSIONS[new])]
    if new:
        sizes = {0: torch.export.Dim("batch", min=1)} if any_batch else None
        options = {"dynamic_shapes": [sizes], "external_data": False}
    else:
        options = {"dynamic_axes": {"x": {0: "n"}} if any_batch else None, "output_names": ["y"]}
        if name in KEPT:
            options["training"] = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        network, (x,), path, dynamo=new, opset_version=version, input_names=["x"], **options
    )
    return version, any_batch


def stripped(path):
    """The file without notes on where in PyTorch each operator comes from."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
    return model


def slopes(network, x, constants):
    """Gradients in ascending order of the weights."""
    found = network(x)
    found = found if isinstance(found, tuple) else (found,)
    sum((y**2).mean() for y in found if y.is_floating_point()).backward()
    trained = [p for n, p in network.named_parameters() if n not in constants]
    weights = torch.cat([p.detach().view(-1) for p in trained])
    return torch.cat([p.grad.view(-1) for p in trained])[weights.argsort()].numpy()


def main(folder):
    warnings.filterwarnings("ignore")
    folder.mkdir(exist_ok=True)
    expected = {}
    for number, (name, (network, shape)) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        randomized(network)
        if name not in KEPT:
            # As exporters do: gradients are by what is in the file, biases among it.
            network = fuse(network).requires_grad_(True)
        made_different(network)
        x, expected[f"{name}/shape"] = inputs(shape), shape
        path = folder / f"{name}.onnx"
        made = export(name, network, torch.from_numpy(x), path, number)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for i, y in enumerate(session.run(None, {session.get_inputs()[0].name: x})):
            expected[f"{name}/y{i}"] = y
        expected[f"{name}/slopes"] = slopes(network, torch.from_numpy(x), CONSTANTS.get(name, ()))
        kinds = sorted({node.op_type for node in stripped(path).graph.node})
        print(name, made, path.stat().st_size, y.shape, *kinds)
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
