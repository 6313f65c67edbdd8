#!/usr/bin/env python3
"""Quality of 8-bit compression on every network of a data folder, and the ratchet that holds it.

    tools/quality.py DATA [--nets mobilenetv2-1.0-224,yolov5n]     measures, updates tests/quality/baseline.csv
    tools/quality.py DATA --check                                   measures, compares with it, changes nothing

Float is pith's own float path (`pith compile`), compressed is `pith compress` at its defaults; both run through the C++
runtime. What calibrates is never what is measured. Where a data folder has no labels for a
net, quality is agreement with the float net, 100 meaning identical. The embedded default, line_reader, needs no DATA.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import quality_data as data

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "tests" / "quality" / "baseline.csv"
COLUMNS = ["network", "samples", "metric", "float", "compressed", "drop", "file_bytes", "original_bytes", "ratio", "arena_bytes"]
KEYWORDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_"]


def read_table(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(path, columns, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Bench:
    """The program, the data, a folder for what is made; rows gather here."""

    def __init__(self, program, folder, work):
        self.program, self.data, self.work, self.rows = str(program), folder, pathlib.Path(work), []

    def pith(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"pith {' '.join(map(str, arguments))}\n{done.stderr}")
        return json.loads(done.stdout)

    def files(self, network, model, samples, count, flags, held_back=8, more=()):
        """Float and compressed file of a network, and what stays the same in its rows."""
        original, small, big = pathlib.Path(model), self.work / "small.pith", self.work / "float.pith"
        self.pith("compile", original, *flags, "-o", big)
        made = self.pith("compress", original, *flags, *more, "--samples", samples, "--data-count", count, "--held-back", held_back, "-o", small)
        size = original.stat().st_size
        self.common = {"network": network, "file_bytes": made["bytes"], "original_bytes": size, "ratio": f"{size / made['bytes']:.2f}", "arena_bytes": made["arena_bytes"]}
        return big, small

    def row(self, samples, metric, original, compressed):
        self.rows.append({**self.common, "samples": samples, "metric": metric, "float": f"{original:.2f}", "compressed": f"{compressed:.2f}", "drop": f"{original - compressed:.2f}"})
        r = self.rows[-1]
        print(f"{r['network']:28} n={samples:<5} {metric:28} float {r['float']:>6}  compressed {r['compressed']:>6}  drop {r['drop']:>6}  {r['file_bytes']:>9} bytes, {r['ratio']}x", flush=True)

    def both(self, files, wanted, samples, *flags):
        """One row per metric of `pith eval`: (its name in the JSON, its name here, its factor)."""
        a, b = (self.pith("eval", f, "--samples", samples, *flags) for f in files)
        for key, name, factor in wanted:
            self.row(a["samples"], name, factor * a["metrics"][key], factor * b["metrics"][key])

    def against(self, files, samples):
        e = self.pith("eval", files[1], "--samples", samples, "--against", files[0])
        return e["samples"], e["metrics"]


def mobilenet(b):
    """Each half of the pictures is measured with a file that the other half calibrated; the mean of both."""
    pictures = b.data / "imagenet" / "images.tar"
    halves = [data.subset(pictures, b.work / f"half{k}.tar", lambda i, _: i % 2 == k) for k in (0, 1)]
    labels = ["--labels", b.data / "imagenet" / "labels.txt", "--label-offset", "1"]
    found = []
    for k in (0, 1):
        files = b.files("mobilenetv2-1.0-224", b.data / "nets" / "mobilenetv2-1.0-224.onnx", halves[k], 192,
                        ["--preprocess", "image:rgb:224x224:crop:mean=127.5:std=127.5", "--head", "classifier"])
        a, c = (b.pith("eval", f, "--samples", halves[1 - k], *labels) for f in files)
        same = b.against(files, halves[1 - k])[1]["same_strongest"]
        found.append((a["samples"], a["metrics"], c["metrics"], same))
    mean = lambda pick: sum(f[0] * pick(f) for f in found) / sum(f[0] for f in found)
    for key, name in (("top1", "top-1, halves"), ("top5", "top-5, halves")):
        b.row(sum(f[0] for f in found), name, mean(lambda f: f[1][key]), mean(lambda f: f[2][key]))
    b.row(sum(f[0] for f in found), "same answer, halves", 100, mean(lambda f: f[3]))


def yolo(b, cut):
    """As MobileNetV2: two halves, each measured with a file that the other calibrated; the mean of both."""
    flags = ["--preprocess", "image:rgb:640x640:letterbox=114:scale=1/255"] + (["--cut-head", "--head", "yolov5-raw"] if cut else ["--head", "yolov5"])
    halves = [data.coco_half(b.data / "coco", b.work, k) for k in (0, 1)]
    found = []
    for k in (0, 1):
        files = b.files("yolov5n" if cut else "yolov5n, decoding kept", b.data / "nets" / "yolov5n.onnx", halves[k][0], 32, flags, 2)
        pictures, truth = halves[1 - k]
        found.append([b.pith("eval", f, "--samples", pictures, "--coco", truth) for f in files])
    samples = sum(f[0]["samples"] for f in found)
    for key, name in (("ap50", "AP50, halves"), ("ap", "AP, halves")):
        b.row(samples, name, *(100 * sum(f[i]["samples"] * f[i]["metrics"][key] for f in found) / samples for i in (0, 1)))


def cifar(b, net, preprocess):
    files = b.files(net, b.data / "nets" / f"{net}.onnx", b.data / "cifar10" / "train4000.bin", 1024, ["--preprocess", preprocess, "--head", "classifier"])
    b.both(files, [("top1", "top-1", 1)], b.data / "cifar10" / "test1000.bin")


def wake_words(b):
    """COCO's pictures have labels and calibrate nothing; ImageNet's say, by halves, how often the answer stays the same."""
    pictures = b.data / "imagenet" / "images.tar"
    halves = [data.subset(pictures, b.work / f"half{k}.tar", lambda i, _: i % 2 == k) for k in (0, 1)]
    labels = data.person_labels(b.data / "coco" / "instances.json", b.work / "persons.txt", 0.025)
    found = []
    for k in (0, 1):
        files = b.files("mlperf-tiny-vww", b.data / "nets" / "mlperf-tiny-vww.onnx", halves[k], 256, ["--preprocess", "image:rgb:96x96:stretch:pil_bilinear:scale=1/255", "--head", "classifier"])
        tops = [b.pith("eval", f, "--samples", b.data / "coco" / "images", "--labels", labels) for f in files]
        samples, m = b.against(files, halves[1 - k])
        found.append((tops[0]["samples"], [t["metrics"]["top1"] for t in tops], samples, m["same_strongest"]))
    b.row(found[0][0], "accuracy, person of 2.5 %, mean of two files", *(sum(f[1][i] for f in found) / 2 for i in (0, 1)))
    b.row(sum(f[2] for f in found), "same answer, halves", 100, sum(f[2] * f[3] for f in found) / sum(f[2] for f in found))


def keywords(b):
    archive = b.data / "speech" / "speech-commands-v2-test600.tar.xz"
    calibration = data.subset(archive, b.work / "clips0.tar", lambda i, name: name.endswith(".wav") and i % 5 == 0)
    measured = data.subset(archive, b.work / "clips1.tar", lambda i, name: name.endswith(".wav") and i % 5 != 0)
    files = b.files("mlperf-tiny-kws", b.data / "nets" / "mlperf-tiny-kws.onnx", calibration, 118, ["--preprocess", "audio:16000x16000:mfcc=10:peak", "--head", "classifier"], 2)
    labels = b.work / "keywords.txt"
    with data.tarfile.open(measured) as clips:
        labels.write_text("".join(f"{n} {KEYWORDS.index(pathlib.Path(n).parent.name)}\n" for n in clips.getnames()))
    b.both(files, [("top1", "accuracy", 1)], measured, "--labels", labels)


def anomaly(b, network="mlperf-tiny-ad", more=()):
    archive = b.data / "speech" / "speech-commands-v2-test600.tar.xz"
    calibration = data.log_mel_windows(data.clips(archive, lambda i, _: i % 20 == 0), b.work / "mel0.npz", 2)
    measured = data.log_mel_windows(data.clips(archive, lambda i, _: i % 20 == 7), b.work / "mel1.npz", 2)
    files = b.files(network, b.data / "nets" / "mlperf-tiny-ad.onnx", calibration, 1024, [], 8, more)
    samples, m = b.against(files, measured)
    b.row(samples, "100 (1 - relative error)", 100, 100 * (1 - 10 ** (-m["sqnr_db"] / 20)))
    # the net's own use: windows that aren't like the usual ones are reconstructed worse. Noise against words stands for it.
    noise = data.log_mel_windows(data.clips(archive, lambda i, name: "_silence_" in name and i % 5 == 2), b.work / "noise.npz", 2)
    words = data.log_mel_windows(data.clips(archive, lambda i, name: "_silence_" not in name and i % 20 == 7), b.work / "words.npz", 2)
    areas = []
    for f in files:
        odd, usual = (data.reconstruction_errors(w, [r["outputs"][0]["values"] for r in b.pith("run", f, w)["results"]]) for w in (noise, words))
        areas.append(100 * sum((x > y) + 0.5 * (x == y) for x in odd for y in usual) / (len(odd) * len(usual)))
    flip = areas[0] < 50
    b.row(len(odd) + len(usual), "area under ROC, noise from words", *((100 - x if flip else x) for x in areas))


def silero(b):
    archive = b.data / "speech" / "speech-commands-v2-test600.tar.xz"
    joined = data.array.array("f")
    for clip in data.clips(archive, lambda i, name: "_silence_" not in name and i % 20 == 7):  # those hold noise at full scale, which widens every range
        joined += clip
    calibration = data.silero_chunks(joined, b.work / "chunks0.npz", 514)
    measured = data.silero_chunks(data.wav_samples(str(b.data / "speech" / "silero_test.wav")), b.work / "chunks1.npz", 100000)
    files = b.files("silero_vad_16k", b.data / "nets" / "silero_vad_16k.onnx", calibration, 512, ["--input-shape", "input:1x576", "--dimension", "batch=1", "--state", "state=stateN"], 2)
    a, c = ([r["outputs"][0]["values"][0] for r in b.pith("run", f, measured)["results"]] for f in files)
    b.row(len(a), "same decision at 0.5", 100, 100 * sum((x > 0.5) == (y > 0.5) for x, y in zip(a, c)) / len(a))
    b.row(len(a), "100 (1 - mean difference)", 100, 100 * (1 - sum(abs(x - y) for x, y in zip(a, c)) / len(a)))


def faces(b):
    files = b.files("ultraface-rfb-320", b.data / "nets" / "ultraface-rfb-320.onnx", b.data / "imagenet" / "images.tar", 150,
                    ["--preprocess", "image:rgb:320x240:stretch:pil_bilinear:mean=127:std=128", "--head", "ssd"])
    found = [[[(x["score"], x["box"]) for x in r["boxes"]] for r in b.pith("run", f, b.data / "coco" / "images", "--score", 0.05, "--iou", 0.3)["results"]] for f in files]
    truth = [[f for f in picture if f[0] > 0.7] for picture in found[0]]
    b.row(len(truth), "AP50, float's faces the truth", data.average_precision(found[0], truth), data.average_precision(found[1], truth))


def line_reader(b):
    zoo, examples = ROOT / "zoo" / "line_reader", ROOT / "examples" / "line_reader"
    flags = ["--preprocess", "image:gray:512x32:line=255:pil_bilinear:mean=127.5:std=127.5", "--labels", zoo / "labels.txt", "--head", "ctc"]
    files = b.files("line_reader", zoo / "line_reader.onnx", zoo / "samples.npz", 96, flags, 2)
    b.both(files, [("characters", "characters", 1)], examples / "heldout_clean.npz", "--texts", examples / "heldout_clean.txt")


NETWORKS = {
    "line_reader": line_reader,
    "cifar-resnet20": lambda b: cifar(b, "cifar-resnet20", "image:rgb:32x32:mean=123.675,116.28,103.53:std=58.395,57.12,57.375"),
    "mlperf-tiny-resnet8": lambda b: cifar(b, "mlperf-tiny-resnet8", "image:rgb:32x32"),
    "mlperf-tiny-kws": keywords,
    "mlperf-tiny-vww": wake_words,
    "mlperf-tiny-ad": anomaly,
    "mlperf-tiny-ad, 8-bit outputs": lambda b: anomaly(b, "mlperf-tiny-ad, 8-bit outputs", ["--integer-outputs"]),
    "silero_vad_16k": silero,
    "ultraface-rfb-320": faces,
    "mobilenetv2-1.0-224": mobilenet,
    "yolov5n": lambda b: yolo(b, True),
    "yolov5n, decoding kept": lambda b: yolo(b, False),
}


def tolerance(row):
    """How much a drop may grow: two samples' worth, at least 0.3 points. Calibration sums floats in BLAS's order, which
    differs between machines, and a borderline sample may tip."""
    return max(0.3, 200 / int(row["samples"]))


def complaints(baseline, fresh):
    """What is worse than the committed figures. Only networks that were measured are compared; none may lose a row."""
    measured = {r["network"] for r in fresh}
    now = {(r["network"], r["metric"]): r for r in fresh}
    found = []
    for old in (r for r in baseline if r["network"] in measured):
        new = now.get((old["network"], old["metric"]))
        where = f"{old['network']}, {old['metric']}"
        if new is None:
            found.append(f"{where}: no longer measured")
            continue
        if float(new["drop"]) > float(old["drop"]) + tolerance(old):
            found.append(f"{where}: drops {new['drop']} points, {old['drop']} before (tolerance {tolerance(old):.2f})")
        for bytes_of, slack in (("file_bytes", 1.01), ("arena_bytes", 1.01)):
            if int(new[bytes_of]) > slack * int(old[bytes_of]):
                found.append(f"{where}: {bytes_of} {new[bytes_of]}, {old[bytes_of]} before (tolerance 1 %)")
    known = {r["network"] for r in baseline}
    return found + [f"{n}: not in the baseline; measure it and commit the row" for n in sorted(measured - known)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="?", type=pathlib.Path, help="folder with nets/, imagenet/, coco/, cifar10/, speech/; without it only line_reader is measured")
    parser.add_argument("--pith", type=pathlib.Path, default=ROOT / "build" / "default" / "cli" / "pith")
    parser.add_argument("--nets", default="", help="names, separated by ';' or ',' (default: all)")
    parser.add_argument("--csv", type=pathlib.Path, default=BASELINE, help="the table to update or to compare with")
    parser.add_argument("--check", action="store_true", help="compare with the table instead of updating it")
    f = parser.parse_args()
    names = [n for n in NETWORKS if not f.nets or n in f.nets.split(";" if ";" in f.nets else ",")] if f.data else ["line_reader"]
    if not names:
        sys.exit(f"--nets '{f.nets}' names none of: {'; '.join(NETWORKS)}")
    old = read_table(f.csv)
    fresh = []
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            bench = Bench(f.pith, f.data, work)
            NETWORKS[name](bench)
            fresh += bench.rows
        if not f.check:
            rows = [r for r in old if r["network"] not in {x["network"] for x in fresh}] + fresh
            order = list(NETWORKS)
            write_table(f.csv, COLUMNS, sorted(rows, key=lambda r: order.index(r["network"])))
    if f.check:
        worse = complaints(old, fresh)
        print("\n".join(worse) if worse else f"no worse than {f.csv}")
        sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
