"""Networks that torch 1.13 can't write, built with onnx.helper (PyPI's onnx): graphs.py FOLDER

GRU in both reset modes, in both directions, with its state as input and output; a Llama layer and an attention layer in
the whole operators of opset 23. Files as export.py names them.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(5)


def weights(**shapes):
    return [numpy_helper.from_array((RNG.standard_normal(shape) * 0.3).astype(np.float32), name) for name, shape in shapes.items()]


def model(nodes, inputs, outputs, constants, opset):
    def port(name, array):
        kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, array.shape)

    graph = helper.make_graph(nodes, "graph", [port(f"in{i}", x) for i, x in enumerate(inputs)], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = min(made.ir_version, 10)
    return made


def real(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def gru(reset, directions, opset):
    hidden, d = 6, len(directions.split("+"))
    kind = {"forward": "forward", "reverse": "reverse", "forward+reverse": "bidirectional"}[directions]
    node = helper.make_node("GRU", ["in0", "w", "r", "b", "", "in1"], ["y", "h"], hidden_size=hidden, linear_before_reset=reset, direction=kind)
    constants = weights(w=(d, 3 * hidden, 5), r=(d, 3 * hidden, hidden), b=(d, 6 * hidden))
    inputs = [real(7, 2, 5), real(d, 2, hidden)]
    return model([node], inputs, ["y", "h"], constants, opset), inputs, ["GRU"]


def llama(opset):
    """Whole operators of opset 23: normalisation, rotary positions, grouped attention with a cache, gated feed-forward."""
    d, heads, kv, t, past = 32, 4, 2, 3, 4
    size = d // heads
    nodes = [
        helper.make_node("RMSNormalization", ["in0", "norm1"], ["y"], axis=-1, epsilon=1e-6),
        *(helper.make_node("MatMul", ["y", name], [f"{name}_y"]) for name in ("q", "k", "v")),
        helper.make_node("RotaryEmbedding", ["q_y", "cos", "sin", "in3"], ["q_r"], num_heads=heads),
        helper.make_node("RotaryEmbedding", ["k_y", "cos", "sin", "in3"], ["k_r"], num_heads=kv),
        helper.make_node("Attention", ["q_r", "k_r", "v_y", "mask", "in1", "in2"], ["a", "k_out", "v_out"], q_num_heads=heads, kv_num_heads=kv),
        helper.make_node("MatMul", ["a", "o"], ["o_y"]),
        helper.make_node("Add", ["in0", "o_y"], ["x1"]),
        helper.make_node("RMSNormalization", ["x1", "norm2"], ["y2"], axis=-1, epsilon=1e-6),
        helper.make_node("MatMul", ["y2", "gate"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["s"]),
        helper.make_node("Mul", ["g", "s"], ["gs"]),
        helper.make_node("MatMul", ["y2", "up"], ["u"]),
        helper.make_node("Mul", ["gs", "u"], ["m"]),
        helper.make_node("MatMul", ["m", "down"], ["f"]),
        helper.make_node("Add", ["x1", "f"], ["out"]),
    ]
    constants = weights(norm1=(d,), norm2=(d,), q=(d, d), k=(d, kv * size), v=(d, kv * size), o=(d, d), gate=(d, 48), up=(d, 48), down=(48, d))
    angle = np.outer(np.arange(16), 10000.0 ** -(np.arange(0, size, 2) / size))
    mask = np.triu(np.full((t, past + t), -1e9), past + 1)
    constants += [numpy_helper.from_array(x.astype(np.float32), n) for n, x in (("cos", np.cos(angle)), ("sin", np.sin(angle)), ("mask", mask))]
    inputs = [real(1, t, d), real(1, kv, past, size), real(1, kv, past, size), np.arange(past, past + t, dtype=np.int64)[None]]
    return model(nodes, inputs, ["out", "k_out", "v_out"], constants, opset), inputs, ["Attention", "RMSNormalization", "RotaryEmbedding", "silu"]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for reset in (0, 1):
        for directions in ("forward", "reverse", "forward+reverse"):
            for opset in (11, 14, 22):
                made[f"gru_reset{reset}_{directions.replace('+', '_')}-{opset}"] = gru(reset, directions, opset)
    made["llama_whole-23"] = llama(23)
    for name, (network, inputs, operators) in made.items():
        onnx.save(network, folder / f"{name}.onnx")
        stem = name.rsplit("-", 1)[0]
        np.savez(folder / f"{stem}.npz", **{f"{i:02}": x for i, x in enumerate(inputs)})
        (folder / f"{stem}.txt").write_text(" ".join(operators) + "\n")


if __name__ == "__main__":
    main()
