#!/usr/bin/env python3
"""Tokens per second of Llama-type decoders, pith beside ONNX Runtime int8 and llama.cpp, in one run; writes tests/quality/decoding.csv.

    tools/decoding_speed.py build/default/cli/pith DATA [--threads 1] [--tokens 100] [--only stories260K] [--bits 8] [--turns 5] [--cache 8 6 4] [--llama-cpp] [--folder MODELS]

stories260K has its real weights (DATA/stories260K), the form of 110 M parameters (768 wide, 12 layers, 12 heads, 2,048 hidden,
32,000 words, tied) seeded random ones, rounded to the nearest (`--rate-weight 0`, since its file's size is of no interest). pith: 8-bit weights (`pith compress`, or --bits 4), floats between them, decoded once at
load (`--memory fastest`), a window of 256 positions. ONNX Runtime: the same step as an ONNX graph with the past as inputs and
outputs, weights through its own quantize_dynamic (int8, per channel). With --llama-cpp, llama.cpp instead (tools/llama_cpp.py: Q8_0 and Q4_0, keys and values in
its F16), and pith with AVX2 alone too, since the library inside PyPI's xllamacpp is built for no more. All
make the tokens of positions 0 to TOKENS - 1 and count the time of a step, median of TOKENS; they take
turns, and the turn counts in which each was disturbed least. With --cache 8 6 4: the 8-bit file whose
keys and values are remembered in so many bits beside the one that has them in float, stories260K with 64 paragraphs of the first half of its text as samples; of stories260K also the nats per token of the later half. What was compressed stays in MODELS and is
taken from there. Needs PyPI's numpy, onnx and onnxruntime, or gguf and xllamacpp.
"""
import argparse
import pathlib
import struct
import tempfile
import time

import numpy as np

from quality import ROOT, Bench, read_table, write_table

TABLE = ROOT / "tests" / "quality" / "decoding.csv"
COLUMNS = ["model", "program", "threads", "ms_per_token", "tokens_per_second", "state_bytes", "nats_per_token"]


def read_checkpoint(path):
    """llama2.c's format: seven integers, then the weights."""
    data = path.read_bytes()
    c = dict(zip(("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "positions"), struct.unpack("<7i", data[:28])))
    shapes = weight_shapes(c)
    values, at, weights = np.frombuffer(data, np.float32, offset=28), 0, {}
    for name, shape in shapes:
        n = int(np.prod(shape))
        weights[name], at = values[at:at + n].reshape(shape), at + n
    c["vocab"] = abs(c["vocab"])
    return c, weights


def weight_shapes(c):
    d, h, n, kv = c["dim"], c["hidden"], c["layers"], c["dim"] // c["heads"] * c["kv_heads"]
    return [("words", (abs(c["vocab"]), d)), ("norm1", (n, d)), ("wq", (n, d, d)), ("wk", (n, kv, d)), ("wv", (n, kv, d)), ("wo", (n, d, d)), ("norm2", (n, d)),
            ("w1", (n, h, d)), ("w2", (n, d, h)), ("w3", (n, h, d)), ("norm", (d,)), ("cos", (c["positions"], d // c["heads"] // 2)), ("sin", (c["positions"], d // c["heads"] // 2))]


def write_form(folder):
    """The form of 110 M parameters with seeded weights, and a vocabulary of 32,000 made-up words."""
    c = {"dim": 768, "hidden": 2048, "layers": 12, "heads": 12, "kv_heads": 12, "vocab": 32000, "positions": 1024}
    rng = np.random.default_rng(1)
    with (folder / "form110M.bin").open("wb") as f:
        f.write(struct.pack("<7i", *(c[k] for k in ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "positions"))))
        for name, shape in weight_shapes(c):
            w = np.ones(shape, np.float32) if "norm" in name else rng.normal(0, 0.02, shape).astype(np.float32)
            if name in ("cos", "sin"):
                angles = np.outer(np.arange(shape[0]), 10000.0 ** (-np.arange(shape[1]) / shape[1]))
                w = (np.cos if name == "cos" else np.sin)(angles).astype(np.float32)
            f.write(w.tobytes())
    words = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [f"<0x{i:02X}>".encode() for i in range(256)] + [bytes([i]) for i in range(32, 127)]
    words += [b" " + format(i, "x").encode() for i in range(32000 - len(words))]
    with (folder / "form110M_words.bin").open("wb") as f:
        f.write(struct.pack("<i", max(map(len, words))))
        for i, w in enumerate(words):
            f.write(struct.pack("<fi", -float(i), len(w)) + w)


def step_graph(c, w):
    """One token as ONNX: past keys and values come in and go out."""
    from onnx import TensorProto, helper, numpy_helper
    nodes, constants, d, heads, kv = [], [], c["dim"], c["heads"], c["kv_heads"]
    size = d // heads

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, name, outputs=1, **attributes):
        outs = [name] if outputs == 1 else [f"{name}{i}" for i in range(outputs)]
        nodes.append(helper.make_node(op, inputs, outs, **attributes))
        return name if outputs == 1 else outs

    def norm(x, weights, name):
        mean = node("ReduceMean", [node("Mul", [x, x], name + "sq")], name + "mean", axes=[-1])
        return node("Mul", [node("Div", [x, node("Sqrt", [node("Add", [mean, "eps"], name + "e")], name + "r")], name + "n"), constant(name + "w", weights)], name)

    def split_heads(x, count, name):
        return node("Transpose", [node("Reshape", [x, constant(name + "s", np.array([1, 1, count, size], np.int64))], name + "h")], name + "t", perm=[0, 2, 1, 3])

    def rotate(x, name):
        a, b = node("Split", [x], name + "p", outputs=2, axis=-1)
        m = lambda p, q, n: node("Mul", [p, q], name + n)
        return node("Concat", [node("Sub", [m(a, "c", "1"), m(b, "s", "2")], name + "x"), node("Add", [m(a, "s", "3"), m(b, "c", "4")], name + "y")], name + "rot", axis=-1)

    constant("eps", np.array([1e-5], np.float32))
    constant("root", np.array([size ** 0.5], np.float32))
    node("Gather", [constant("cos", w["cos"]), "position"], "c")
    node("Gather", [constant("sin", w["sin"]), "position"], "s")
    x, inputs, outputs = node("Gather", [constant("words", w["words"]), "token"], "x"), [], []
    for i in range(c["layers"]):
        p = f"l{i}_"
        y = norm(x, w["norm1"][i], p + "n1")
        q, k, v = (node("MatMul", [y, constant(p + n, w[n][i].T)], p + n + "y") for n in ("wq", "wk", "wv"))
        q, k, v = rotate(split_heads(q, heads, p + "q"), p + "qr"), rotate(split_heads(k, kv, p + "k"), p + "kr"), split_heads(v, kv, p + "v")
        for kind, fresh in (("k", k), ("v", v)):
            node("Concat", [f"past_{kind}{i}", fresh], f"next_{kind}{i}", axis=2)
            inputs.append(helper.make_tensor_value_info(f"past_{kind}{i}", TensorProto.FLOAT, [1, kv, "past", size]))
            outputs.append(helper.make_tensor_value_info(f"next_{kind}{i}", TensorProto.FLOAT, [1, kv, "all", size]))
        k, v = f"next_k{i}", f"next_v{i}"
        if kv != heads:  # query heads share keys in equal groups
            q = node("Reshape", [q, constant(p + "g", np.array([1, kv, heads // kv, size], np.int64))], p + "qg")
        scores = node("Softmax", [node("Div", [node("MatMul", [q, node("Transpose", [k], p + "keys", perm=[0, 1, 3, 2])], p + "qk"), "root"], p + "sc")], p + "sm", axis=-1)
        mixed = node("Reshape", [node("MatMul", [scores, v], p + "mx"), constant(p + "m", np.array([1, 1, d], np.int64))], p + "mr")
        x = node("Add", [x, node("MatMul", [mixed, constant(p + "wo", w["wo"][i].T)], p + "o")], p + "a")
        y = norm(x, w["norm2"][i], p + "n2")
        up = node("MatMul", [y, constant(p + "w1", w["w1"][i].T)], p + "u")
        gate = node("Mul", [node("Mul", [up, node("Sigmoid", [up], p + "sg")], p + "si"), node("MatMul", [y, constant(p + "w3", w["w3"][i].T)], p + "u3")], p + "gt")
        x = node("Add", [x, node("MatMul", [gate, constant(p + "w2", w["w2"][i].T)], p + "d")], p + "b")
    node("MatMul", [norm(x, w["norm"], "nf"), constant("head", w["words"].T)], "logits")
    graph = helper.make_graph(nodes, "step", [helper.make_tensor_value_info("token", TensorProto.INT64, [1, 1]), helper.make_tensor_value_info("position", TensorProto.INT64, [1])] + inputs,
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, c["vocab"]])] + outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 8
    return model


def runtime_timers(c, weights, folder, threads, tokens):
    """For ONNX Runtime, int8 and float: what gives the milliseconds of a step."""
    import onnx
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic
    onnx.save(step_graph(c, weights), folder / "step.onnx")
    quantize_dynamic(folder / "step.onnx", folder / "step8.onnx", weight_type=QuantType.QInt8, per_channel=True, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    size = c["dim"] // c["heads"]

    def median(session):
        names, times = [o.name for o in session.get_outputs()], []
        past = {n: np.zeros((1, c["kv_heads"], 0, size), np.float32) for n in (i.name for i in session.get_inputs()) if n.startswith("past")}
        for position in range(tokens):
            started = time.perf_counter()
            out = session.run(names, {"token": np.array([[position % c["vocab"]]], np.int64), "position": np.array([position], np.int64), **past})
            times.append(time.perf_counter() - started)
            past = {n.replace("next", "past"): v for n, v in zip(names[1:], out[1:])}
        return 1000 * float(np.median(times))

    found = {}
    for name, path in (("onnxruntime int8", "step8.onnx"), ("onnxruntime float", "step.onnx")):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = ort.InferenceSession(str(folder / path), options, providers=["CPUExecutionProvider"])
        found[name] = lambda session=session: median(session)
    return found


def llama_cpp_timers(c, weights, bits, folder, threads, tokens):
    import llama_cpp
    found = {}
    for b in bits:
        llama_cpp.write_gguf(folder / f"weights{b}.gguf", c, weights, b)
        decoder = llama_cpp.Decoder(folder / f"weights{b}.gguf", threads)
        found[f"llama.cpp Q{b}_0"] = lambda decoder=decoder: decoder.median_ms(tokens, c["vocab"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pith", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--only", choices=["stories260K", "form110M"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--cache", type=int, nargs="*", default=[], help="pith only, with keys and values in so many bits, and in float")
    parser.add_argument("--llama-cpp", action="store_true", help="beside llama.cpp at equal bits instead of ONNX Runtime")
    parser.add_argument("--folder", type=pathlib.Path, help="of the compressed models, which are made where they aren't there")
    a = parser.parse_args()
    rows = read_table(TABLE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pith = Bench(a.pith, a.data, folder).pith
        lines = [line for line in (a.data / "stories260K" / "tinystories_niklas.txt").read_text().split("\n") if line.strip()]
        text = folder / "text.txt"
        text.write_text("\n".join(lines[len(lines) // 2:]) + "\n")
        (folder / "lines.txt").write_text("\n".join(line[:60] for line in lines[:8]) + "\n")
        (folder / "first.txt").write_text("\n".join(lines[:len(lines) // 2]) + "\n")
        for name in ("stories260K", "form110M"):
            if a.only not in (None, name):
                continue
            checkpoint, vocabulary = a.data / "stories260K" / "stories260K.bin", a.data / "stories260K" / "tok512.bin"
            if name == "form110M":
                write_form(folder)
                checkpoint, vocabulary = folder / "form110M.bin", folder / "form110M_words.bin"
            c, weights = read_checkpoint(checkpoint)
            timers, models = {}, {}
            for bits in [8] if a.cache else a.bits:
                model = (a.folder or folder) / f"{name}{bits}.pith"
                if not model.exists():
                    pith("compress", checkpoint, "--vocabulary", vocabulary, "--dimension", "context=256", "--samples", folder / "lines.txt", "--data-count", 2, "--held-back", 1, "--bits", bits,
                        "--codec", "fastest", *(["--rate-weight", 0] if name == "form110M" else []), "-o", model)
                models[f"pith {bits} bits" + (", cache float" if a.cache else ", beside llama.cpp" if a.llama_cpp else "")] = model
            for bits in a.cache:
                models[f"pith 8 bits, cache {bits}"] = folder / f"{name}8_{bits}.pith"
                if name == "stories260K":  # keys of 4 bits learn from the samples
                    pith("compress", checkpoint, "--vocabulary", vocabulary, "--dimension", "context=256", "--samples", folder / "first.txt", "--data-count", 64, "--held-back", 1, "--codec", "fastest", "--cache-bits", bits,
                        "-o", models[f"pith 8 bits, cache {bits}"])
                else:
                    pith("compile", model, "--cache-bits", bits, "--codec", "fastest", "-o", models[f"pith 8 bits, cache {bits}"])
            for program, file in models.items():
                timers[program] = lambda file=file: pith("bench", file, "--threads", a.threads, "--memory", "fastest", "--counts", "position", "-r", a.tokens)["metrics"]["median_ms"]
            if a.llama_cpp:
                for program, file in list(models.items()):
                    timers[program + ", AVX2"] = lambda file=file: pith("bench", file, "--threads", a.threads, "--memory", "fastest", "--isa", "avx2", "--counts", "position", "-r", a.tokens)["metrics"]["median_ms"]
                timers |= llama_cpp_timers(c, weights, a.bits, folder, a.threads, a.tokens)
            elif not a.cache:
                timers |= runtime_timers(c, weights, folder, a.threads, a.tokens)
            turns = [{program: timer() for program, timer in timers.items()} for _ in range(a.turns)]
            for program in timers:
                ms = min(turn[program] for turn in turns)
                rows = [r for r in rows if (r["model"], r["program"], r["threads"]) != (name, program, str(a.threads))]
                row = {"model": name, "program": program, "threads": a.threads, "ms_per_token": f"{ms:.3f}", "tokens_per_second": f"{1000 / ms:.1f}"}
                if a.cache:
                    row["state_bytes"] = pith("info", models[program])["state_bytes"]
                if a.cache and name == "stories260K":
                    row["nats_per_token"] = f"{pith('run', models[program], '--text-file', text, '--nats', '--tokens', 256)['results'][0]['nats_per_token']:.4f}"
                rows.append(row)
                print(rows[-1], " turns:", " ".join(f"{turn[program]:.3f}" for turn in turns), flush=True)
    write_table(TABLE, COLUMNS, [{**dict.fromkeys(COLUMNS, ""), **row} for row in rows])


if __name__ == "__main__":
    main()
