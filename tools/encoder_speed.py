#!/usr/bin/env python3
"""Milliseconds of RoBERTa-base's form at 128 tokens, pith beside ONNX Runtime, in one run; writes tests/quality/encoder.csv.

    tools/encoder_speed.py build/default/cli/pith TOKENIZER_JSON [--threads 1] [--repetitions 20] [--turns 3] [--openvino]

Both run 12 layers of 768 with 12 heads and 3,072 hidden, and the masked-language head of one position (50,265 words). pith:
`structure:roberta-mlm` (seeded ternary weights, which take as long as any others once they are decoded; everything between them
in 8 bits), weights decoded at load. ONNX Runtime: the same network as an ONNX graph with seeded weights through its own
quantize_dynamic (int8, per channel), and in float. They take turns, so that a busy machine is busy for all; the time is that of the
fastest run, which others disturb least. With --openvino, OpenVINO takes
turns too: the same network in float (float32 arithmetic asked for) and quantised by NNCF for transformers (8-bit weights and activations, 4 random texts calibrate, of which the time doesn't depend). TOKENIZER_JSON gives pith's file its vocabulary and takes no part in the time. Needs PyPI's onnx, onnxruntime and numpy, or openvino and nncf.
"""
import argparse
import pathlib
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quality import ROOT, Bench, read_table, write_table

TABLE = ROOT / "tests" / "quality" / "encoder.csv"
TOKENS, WIDTH, HIDDEN, HEADS, LAYERS, WORDS = 128, 768, 3072, 12, 12, 50265


def encoder_graph():
    """The network as exporters of opset 17 write it."""
    rng = np.random.default_rng(1)
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def weights(name, *shape):
        return constant(name, rng.normal(0, 0.02, shape).astype(np.float32))

    def dense(x, inputs, outputs, name):
        return node("Add", [node("MatMul", [x, weights(name + "w", inputs, outputs)], name + "m"), constant(name + "b", np.zeros(outputs, np.float32))], name)

    def norm(x, name):
        return node("LayerNormalization", [x, constant(name + "g", np.ones(WIDTH, np.float32)), constant(name + "b", np.zeros(WIDTH, np.float32))], name, axis=-1, epsilon=1e-5)

    def gelu(x, name):
        half = node("Mul", [x, "half"], name + "h")
        return node("Mul", [half, node("Add", [node("Erf", [node("Div", [x, "root2"], name + "d")], name + "e"), "one"], name + "o")], name)

    def heads(x, name, order):
        return node("Transpose", [node("Reshape", [x, "by_heads"], name + "r")], name, perm=order)

    for name, value in (("half", 0.5), ("one", 1.0), ("root2", 2 ** 0.5), ("large", 1e4), ("root", (WIDTH / HEADS) ** 0.5)):
        constant(name, np.array([value], np.float32))
    constant("by_heads", np.array([1, TOKENS, HEADS, WIDTH // HEADS], np.int64))
    constant("joined", np.array([1, TOKENS, WIDTH], np.int64))
    constant("mask_shape", np.array([1, 1, 1, TOKENS], np.int64))
    there = node("Reshape", [node("Cast", ["attention_mask"], "given", to=TensorProto.FLOAT), "mask_shape"], "there")
    node("Mul", [node("Sub", [there, "one"], "missing"), "large"], "mask")
    x = node("Gather", [weights("words", WORDS, WIDTH), "input_ids"], "embedded")
    x = norm(node("Add", [x, weights("positions", 1, TOKENS, WIDTH)], "placed"), "norm0")
    for i in range(LAYERS):
        p = f"l{i}_"
        q, k, v = (dense(x, WIDTH, WIDTH, p + n) for n in "qkv")
        q, k, v = heads(q, p + "qh", [0, 2, 1, 3]), heads(k, p + "kh", [0, 2, 3, 1]), heads(v, p + "vh", [0, 2, 1, 3])
        scores = node("Softmax", [node("Add", [node("Div", [node("MatMul", [q, k], p + "qk"), "root"], p + "sc"), "mask"], p + "ma")], p + "sm", axis=-1)
        mixed = node("Reshape", [node("Transpose", [node("MatMul", [scores, v], p + "mx"), ], p + "mt", perm=[0, 2, 1, 3]), "joined"], p + "mj")
        x = norm(node("Add", [dense(mixed, WIDTH, WIDTH, p + "o"), x], p + "a"), p + "n1")
        x = norm(node("Add", [dense(gelu(dense(x, WIDTH, HIDDEN, p + "u"), p + "g"), HIDDEN, WIDTH, p + "d"), x], p + "b"), p + "n2")
    x = node("Gather", [x, "mask_position"], "masked", axis=1)
    x = norm(gelu(dense(x, WIDTH, WIDTH, "head"), "head_gelu"), "head_norm")
    node("MatMul", [x, node("Transpose", ["words"], "words_t", perm=[1, 0])], "logits")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, s) for n, s in (("input_ids", [1, TOKENS]), ("attention_mask", [1, TOKENS]), ("mask_position", [1]))]
    graph = helper.make_graph(nodes, "encoder", inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, WORDS])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def runtime_sessions(folder, threads):
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic
    onnx.save(encoder_graph(), folder / "encoder.onnx")
    quantize_dynamic(folder / "encoder.onnx", folder / "encoder8.onnx", weight_type=QuantType.QInt8, per_channel=True, extra_options={"DefaultTensorType": TensorProto.FLOAT})
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return {f"onnxruntime {kind}": ort.InferenceSession(str(folder / f"encoder{suffix}.onnx"), options, providers=["CPUExecutionProvider"]) for kind, suffix in (("int8", "8"), ("float", ""))}


class OpenVino:
    """A compiled network behind ONNX Runtime's interface."""

    def __init__(self, model, threads, kind):
        import openvino
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        if kind == "float":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self.request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(self, _, feeds):
        return self.request.infer(feeds)


def openvino_sessions(folder, threads):
    import nncf
    import openvino
    model = openvino.convert_model(folder / "encoder.onnx")
    rng = np.random.default_rng(2)
    texts = [feeds(rng.integers(1000, WORDS, TOKENS)) for _ in range(4)]
    small = nncf.quantize(openvino.convert_model(folder / "encoder.onnx"), nncf.Dataset(texts), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))
    return {"openvino int8": OpenVino(small, threads, "int8"), "openvino float": OpenVino(model, threads, "float")}


def feeds(ids):
    return {"input_ids": np.asarray(ids, np.int64)[None], "attention_mask": np.ones((1, TOKENS), np.int64), "mask_position": np.array([5], np.int64)}


def time_session(session, repetitions):
    given = feeds(np.arange(TOKENS) + 1000)
    times = []
    for i in range(repetitions + 2):
        started = time.perf_counter()
        session.run(["logits"], given)
        times.append(1000 * (time.perf_counter() - started))
    return times[2:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pith", type=pathlib.Path)
    parser.add_argument("vocabulary", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--openvino", action="store_true", help="beside OpenVINO too")
    a = parser.parse_args()
    rows = read_table(TABLE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pith = Bench(a.pith, None, folder).pith
        model = folder / "roberta.pith"
        pith("compile", "structure:roberta-mlm@0.05", "--vocabulary", a.vocabulary, "--codec", "fastest", "-o", model)
        sessions = runtime_sessions(folder, a.threads)
        if a.openvino:
            sessions |= openvino_sessions(folder, a.threads)
        times = {name: [] for name in ("pith 8 bits", *sessions)}
        for _ in range(a.turns):
            times["pith 8 bits"].append(pith("bench", model, "--threads", a.threads, "--memory", "fastest", "-r", a.repetitions)["metrics"]["min_ms"])
            for name, session in sessions.items():
                times[name].append(min(time_session(session, a.repetitions)))
    for program, ms in times.items():
        rows = [r for r in rows if (r["program"], r["threads"]) != (program, str(a.threads))]
        rows.append({"model": "RoBERTa-base form, 128 tokens", "program": program, "threads": a.threads, "ms": f"{min(ms):.1f}"})
        print(rows[-1], " turns:", " ".join(f"{t:.1f}" for t in ms), flush=True)
    write_table(TABLE, list(rows[0]), rows)


if __name__ == "__main__":
    main()
