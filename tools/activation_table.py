#!/usr/bin/env python3
"""What coded activations cost: factor, quality, time and memory, as one table.

    tools/activation_table.py DATA [--nets mobilenetv2,yolov5n] [--bits 5.3,3.2] [--least 3.2] [--overhead 0] [--uniform] [--lifting] [--count 0] [--work FOLDER] [--pith build/default/cli/pith]

Each network is compressed to 8 bits; then every 8-bit picture between its operators goes through the codec (`--code-all`),
at so many bits a value on the average, spent where a few unlabelled pictures say that they count; with --uniform every
tensor gets as many. --lifting: channels look at each other where a few unlabelled pictures say that this helps (`--activation-lifting`). --bits lossless: in the bytes that they take on a few unlabelled pictures; coarse_rows are percent of
rows that had more in them on the pictures of the test. factor: bytes of
all these activations in float32 over their bytes in coded form. quality: what labels say, for the float network, the
8-bit one and the coded one. encode, decode: nanoseconds a value, one thread of this machine. Rows `least memory`: only
what waits at the peak is coded, layers run in bands; of_float32 is the arena against the float32 layer-by-layer peak.

Each half of the pictures is measured with what the other half calibrated and measured; the mean of both. Writes tests/quality/activations.csv.
"""
import argparse
import json
import pathlib
import tempfile

import quality_data as data
from quality import Bench, ROOT, read_table, write_table

TABLE = ROOT / "tests" / "quality" / "activations.csv"
COLUMNS = ["network", "what", "bits", "spent", "factor", "samples", "metric", "float", "eight_bits", "coded", "drop", "drop_of_codec", "coarse_rows", "arena_bytes", "of_float32", "encode_ns", "decode_ns"]


class Fold:
    """One way to split the data: the 8-bit network, what its activations are measured on, and how quality is asked for."""

    def __init__(self, bench, name, model, flags, calibration, count, sensitivity, ask, metric, factor):
        self.bench, self.name, self.sensitivity, self.ask, self.metric, self.factor = bench, name, sensitivity, ask, metric, factor
        self.whole = bench.work / f"{name}.pith"
        self.original = bench.work / f"{name}.float.pith"
        if not self.whole.exists():
            bench.pith("compile", model, *flags, "-o", self.original)
            bench.pith("compress", model, *flags, "--samples", calibration, "--data-count", count, "--held-back", 2, "--codec", "fastest", "-o", self.whole)
        self.known = {}

    def quality(self, path):
        """(samples, percent, rows of activations that were stored, and those of them coarser than they are)"""
        if path not in self.known:
            found = self.bench.pith("eval", path, *self.ask)
            self.known[path] = (found["samples"], self.factor * found["metrics"][self.metric], found["stored_rows"]["all"], found["stored_rows"]["coarse"])
        return self.known[path]

    def coded(self, bits, *flags):
        path, trace = self.bench.work / f"{self.name}.coded.pith", self.bench.work / "trace.json"
        self.known.pop(path, None)
        made = self.bench.pith("compile", self.whole, "--activation-bits", bits, *([] if self.bench.uniform and bits != "lossless" else ["--activation-samples", self.sensitivity, "--activation-count", self.bench.measured]), *(["--activation-lifting", self.sensitivity] if self.bench.lifting else []), *flags, "--codec", "fastest", "--trace", trace, "-o", path)
        return path, made, json.loads(trace.read_text())


def mobilenet(b, count):
    pictures = b.data / "imagenet" / "images.tar"
    halves = [data.subset(pictures, b.work / f"half{k}.tar", lambda i, _: i % 2 == k) for k in (0, 1)]
    labels = ["--labels", b.data / "imagenet" / "labels.txt", "--label-offset", "1"]
    flags = ["--preprocess", "image:rgb:224x224:crop:mean=127.5:std=127.5", "--head", "classifier"]
    few = ["--data-count", count] if count else []
    return [Fold(b, f"mobilenetv2.{k}", b.data / "nets" / "mobilenetv2-1.0-224.onnx", flags, halves[k], 192, halves[k], ["--samples", halves[1 - k], *labels, *few], "top1", 1) for k in (0, 1)]


def yolo(b, count):
    flags = ["--preprocess", "image:rgb:640x640:letterbox=114:scale=1/255", "--cut-head", "--head", "yolov5-raw"]
    (b.work / "coco").mkdir(exist_ok=True)
    halves = [data.coco_half(b.data / "coco", b.work / "coco", k) for k in (0, 1)]
    few = ["--data-count", count] if count else []
    return [Fold(b, f"yolov5n.{k}", b.data / "nets" / "yolov5n.onnx", flags, halves[k][0], 32, halves[k][0], ["--samples", halves[1 - k][0], "--coco", halves[1 - k][1], *few], "ap50", 100) for k in (0, 1)]


NETWORKS = {"mobilenetv2": (mobilenet, "top-1"), "yolov5n": (yolo, "AP50, halves")}


def row(network, metric, folds, bits, what, *flags):
    total, sums, rows, coarse = 0, [0.0, 0.0, 0.0], 0, 0
    for fold in folds:
        path, made, trace = fold.coded(bits, *flags)
        quality = [fold.quality(p) for p in (fold.original, fold.whole, path)]
        total += quality[0][0]
        rows, coarse = rows + quality[2][2], coarse + quality[2][3]
        for i in range(3):
            sums[i] += quality[i][0] * quality[i][1]
    original, eight, coded = (s / total for s in sums)
    activations, memory = made["coded_activations"], made["memory"]
    spent = {op: sum(e["dur"] for e in trace["traceEvents"] if e["ph"] == "X" and any(f" {op}{form} " in f"{e['name']} " for form in ("Rows", "LiftedRows"))) for op in ("Encode", "Decode")}
    ns = lambda op: f"{1000 * spent[op] / activations['values']:.1f}"
    return {"network": network, "what": what, "bits": bits, "spent": "as needed" if bits == "lossless" else "alike" if folds[0].bench.uniform else "as measured", "factor": f"{4 * activations['values'] / activations['bytes']:.2f}", "samples": total, "metric": metric, "float": f"{original:.2f}",
            "eight_bits": f"{eight:.2f}", "coded": f"{coded:.2f}", "drop": f"{original - coded:.2f}", "drop_of_codec": f"{eight - coded:.2f}", "coarse_rows": f"{100 * coarse / rows:.3f}", "arena_bytes": memory["arena_bytes"],
            "of_float32": f"1/{memory['float32_peak'] / memory['arena_bytes']:.1f}", "encode_ns": ns("Encode"), "decode_ns": ns("Decode")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--nets", default="mobilenetv2,yolov5n")
    parser.add_argument("--bits", default="5.3,3.2")
    parser.add_argument("--least", default="3.2", help="bits of the rows under the least memory")
    parser.add_argument("--overhead", type=float, default=0, help="percent of the multiplications that rows under the least memory may add (--max-macs-overhead)")
    parser.add_argument("--uniform", action="store_true", help="the same bits for every tensor")
    parser.add_argument("--lifting", action="store_true", help="let channels look at each other")
    parser.add_argument("--measured", type=int, default=8, help="samples that say where bits are needed")
    parser.add_argument("--count", type=int, default=0, help="measure quality on so many samples only")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--pith", default=ROOT / "build/default/cli/pith")
    args = parser.parse_args()
    old = {(r["network"], r["what"], r["bits"], r["spent"]): r for r in read_table(TABLE)}
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or pathlib.Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(args.pith, args.data, work)
        bench.uniform, bench.lifting, bench.measured = args.uniform, args.lifting, args.measured
        for name in args.nets.split(","):
            make, metric = NETWORKS[name]
            folds = make(bench, args.count)
            wanted = [(b, "all activations", ["--code-all"]) for b in args.bits.split(",") if b]
            least = f"least memory, {args.overhead:g} % more multiplications" if args.overhead else "least memory"
            wanted += [(b, least, ["--ram", "least", "--rows", "--max-macs-overhead", args.overhead]) for b in args.least.split(",") if b]
            for bits, what, flags in wanted:
                what += ", lifted" if args.lifting else ""
                made = row(name, metric, folds, bits, what, *flags)
                old[(name, what, bits, made["spent"])] = made
                print(", ".join(f"{k} {v}" for k, v in made.items()), flush=True)
                write_table(TABLE, COLUMNS, old.values())


if __name__ == "__main__":
    main()
