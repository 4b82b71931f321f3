"""Models that hang, take all memory or crash are told in a sentence; the process that asks for the trial goes on."""

import json
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.paths import MODEL, SERVABLE
from kiban.servable import manifest, skops_file
from kiban.serve import trial

GIGABYTE = 10**9


def with_model(content: bytes, name: str = "model.onnx") -> None:
    """Give the servable another model, and have its manifest say so."""
    for old in manifest.MODEL_FILES.values():
        (SERVABLE / old).unlink(missing_ok=True)
    (SERVABLE / name).write_bytes(content)
    described = json.loads((SERVABLE / manifest.FILE).read_bytes())
    described["format"] = Path(name).suffix.removeprefix(".")
    kept = {each: digest for each, digest in described["files"].items() if each not in manifest.MODEL_FILES.values()}
    described["files"] = {**kept, name: files.sha256(SERVABLE / name)}
    (SERVABLE / manifest.FILE).write_text(json.dumps(described))


def with_addend(nodes: list[onnx.NodeProto]) -> bytes:
    """The servable's own ONNX model, to whose probabilities the output `addend` of `nodes` is added."""
    model = onnx.load(SERVABLE / "model.onnx")
    graph = model.graph
    (last,) = (node for node in graph.node if "probabilities" in node.output)
    last.output[list(last.output).index("probabilities")] = "without_addend"
    graph.node.extend([*nodes, helper.make_node("Add", ["without_addend", "addend"], ["probabilities"])])
    return model.SerializeToString()


def constant(name: str, kind: int, shape: list[int], values: list[float]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, shape, values))


def loop() -> list[onnx.NodeProto]:
    """A sum of as many ones as an int64 can count."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            constant("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, []),
        ],
    )
    return [
        constant("turns", TensorProto.INT64, [], [2**62]),
        constant("true", TensorProto.BOOL, [], [1]),
        constant("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_node("Loop", ["turns", "true", "zero"], ["addend"], body=body),
    ]


def large() -> list[onnx.NodeProto]:
    """The sum of 400 megabytes of zeros."""
    return [
        constant("shape", TensorProto.INT64, [1], [10**8]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["addend"], keepdims=0),
    ]


def test_a_good_model_is_taken_in_either_format(project: Path) -> None:
    trial.attempt(SERVABLE, 30, GIGABYTE)
    with_model(MODEL.read_bytes(), "model.skops")
    trial.attempt(SERVABLE, 30, GIGABYTE)


def test_a_model_that_hangs_is_given_up(project: Path) -> None:
    with_model(with_addend(loop()))
    started = time.monotonic()
    with pytest.raises(KibanError, match="the model did not answer about its own example in 3 seconds"):
        trial.attempt(SERVABLE, 3, GIGABYTE)
    assert time.monotonic() - started < 10


def test_a_model_that_takes_all_memory_is_refused(project: Path) -> None:
    with_model(with_addend(large()))
    with pytest.raises(KibanError, match=r"models/servable: the model "):
        trial.attempt(SERVABLE, 30, GIGABYTE // 5)
    trial.attempt(SERVABLE, 30, GIGABYTE)


def test_a_model_that_crashes_is_refused(project: Path) -> None:
    model = skops_file.load(MODEL)
    for predictors in model[-1]._predictors:
        predictors[0].nodes["left"][0] = predictors[0].nodes["right"][0] = np.iinfo(np.uint32).max
    with_model(skops_file.dumps(model), "model.skops")
    with pytest.raises(KibanError, match=r"crashed the process that tried it \(SIG"):
        trial.attempt(SERVABLE, 30, GIGABYTE)


def test_what_is_no_servable_is_said_as_elsewhere(project: Path) -> None:
    (SERVABLE / "model.onnx").write_bytes(b"")
    with pytest.raises(KibanError, match=r"model\.onnx differs from the file that the manifest names"):
        trial.attempt(SERVABLE, 30, GIGABYTE)
