"""Inputs for tools/quality.py that the command line doesn't make by itself, with the standard library alone.

Subsets of archives, sound windows as npz (a zip of npy files: https://numpy.org/neps/nep-0001-npy-format.html), MLPerf
Tiny's log-mel windows for the anomaly net (128 Slaney bands of the power spectrum, FFT 1024, hop 512, 10 log10, five
frames in a row), labels derived from COCO's boxes, and the average precision of one net's faces against another's.
"""
import array
import cmath
import io
import json
import math
import struct
import tarfile
import wave
import zipfile


def subset(source, target, keep):
    """A plain tar of those files of an archive for which keep(place in sorted order, name) holds."""
    with tarfile.open(source) as archive, tarfile.open(target, "w") as out:
        names = sorted(m.name for m in archive.getmembers() if m.isfile())
        chosen = {name for i, name in enumerate(names) if keep(i, name)}
        for member in archive:
            if member.name in chosen:
                out.addfile(member, archive.extractfile(member))
    return target


def coco_half(folder, work, k):
    """Every second picture as a tar, and the truth about those alone."""
    truth = json.loads((folder / "instances.json").read_text())
    truth["images"] = sorted(truth["images"], key=lambda i: i["file_name"])[k::2]
    kept = {i["id"] for i in truth["images"]}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in kept]
    (work / f"half{k}.json").write_text(json.dumps(truth))
    with tarfile.open(work / f"half{k}.tar", "w") as out:
        for i in truth["images"]:
            out.add(folder / "images" / i["file_name"], i["file_name"])
    return work / f"half{k}.tar", work / f"half{k}.json"


def reconstruction_errors(path, outputs):
    """Mean squared difference of each row of log_mel_windows()'s file and the output for it."""
    with zipfile.ZipFile(path) as z:
        values = array.array("f", z.read("input.npy")[-4 * 640 * len(outputs) :])
    return [sum((x - y) ** 2 for x, y in zip(values[640 * r : 640 * r + 640], row)) / 640 for r, row in enumerate(outputs)]


def write_npz(path, arrays):
    """arrays: name -> (dtype as in '<f4', shape, array.array or bytes)."""
    with zipfile.ZipFile(path, "w") as out:
        for name, (dtype, shape, values) in arrays.items():
            header = str({"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
            header += " " * (-(len(header) + 11) % 64) + "\n"
            content = values if isinstance(values, bytes) else values.tobytes()
            out.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)
    return path


def wav_samples(file):
    """16-bit mono as floats in -1..1."""
    with wave.open(file) as w:
        return array.array("f", (x / 32768 for x in array.array("h", w.readframes(w.getnframes()))))


def clips(source, keep):
    with tarfile.open(source) as archive:
        names = sorted(m.name for m in archive.getmembers() if m.isfile() and m.name.endswith(".wav"))
        return [wav_samples(io.BytesIO(archive.extractfile(n).read())) for i, n in enumerate(names) if keep(i, n)]


def silero_chunks(samples, path, limit):
    """Chunks of 512 samples, each with the last 64 of the chunk before; and the net's rate."""
    padded = array.array("f", bytes(4 * 64)) + samples
    starts = list(range(0, len(padded) - 575, 512))[:limit]
    values = array.array("f")
    for at in starts:
        values += padded[at : at + 576]
    return write_npz(path, {"input": ("<f4", (len(starts), 576), values), "sr": ("<i8", (), struct.pack("<q", 16000))})


def power_spectrum(frame):
    """|FFT|^2 of a real frame whose length is a power of two, by decimation in time: frequencies 0 .. n/2."""
    n = len(frame)
    bits = n.bit_length() - 1
    x = [complex(frame[int(f"{i:0{bits}b}"[::-1], 2)]) for i in range(n)]
    size = 2
    while size <= n:
        roots = [cmath.exp(-2j * cmath.pi * k / size) for k in range(size // 2)]
        for start in range(0, n, size):
            for k, root in enumerate(roots):
                a, b = x[start + k], root * x[start + k + size // 2]
                x[start + k], x[start + k + size // 2] = a + b, a - b
        size *= 2
    return [abs(v) ** 2 for v in x[: n // 2 + 1]]


def slaney_bands(bands, fft, rate):
    """Per band: [(bin, weight)]. Linear below 1000 Hz (15 mel), logarithmic above; triangles of unit area."""
    mel = lambda hz: hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)
    hertz = lambda m: m * 200 / 3 if m < 15 else 1000 * math.exp((m - 15) * math.log(6.4) / 27)
    edges = [hertz(mel(rate / 2) * i / (bands + 1)) for i in range(bands + 2)]
    rows = []
    for low, centre, high in zip(edges, edges[1:], edges[2:]):
        row = [(k, min((k * rate / fft - low) / (centre - low), (high - k * rate / fft) / (high - centre))) for k in range(fft // 2 + 1)]
        rows.append([(k, w * 2 / (high - low)) for k, w in row if w > 0])
    return rows


def log_mel_windows(sounds, path, every):
    """Every so many-th window of 5 frames, as rows of 640."""
    bands = slaney_bands(128, 1024, 16000)
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / 1024) for i in range(1024)]
    values, rows = array.array("f"), 0
    for sound in sounds:
        padded = [0.0] * 512 + list(sound) + [0.0] * 512
        frames = (len(padded) - 1024) // 512 + 1
        wanted = [w for w in range(0, frames - 4, every)]
        level = {}
        for f in sorted({f for w in wanted for f in range(w, w + 5)}):
            power = power_spectrum([padded[f * 512 + i] * hann[i] for i in range(1024)])
            level[f] = [10 * math.log10(sum(power[k] * w for k, w in row) + 2.220446049250313e-16) for row in bands]
        for w in wanted:
            for f in range(w, w + 5):
                values.extend(level[f])
            rows += 1
    return write_npz(path, {"input": ("<f4", (rows, 640), values)})


def person_labels(instances, path, least):
    """`name label` lines: 1 where a person's box covers at least `least` of the picture."""
    truth = json.loads(open(instances).read())
    area = {i["id"]: i["width"] * i["height"] for i in truth["images"]}
    seen = {a["image_id"] for a in truth["annotations"] if a["category_id"] == 1 and a["bbox"][2] * a["bbox"][3] >= least * area[a["image_id"]]}
    with open(path, "w") as out:
        out.writelines(f"{i['file_name']} {int(i['id'] in seen)}\n" for i in truth["images"])
    return path


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def average_precision(found, truth):
    """AP50 in percent: found and truth are lists (pictures) of lists of (score, box); area under the precision envelope."""
    ranked = sorted(((score, i, box) for i, boxes in enumerate(found) for score, box in boxes), key=lambda f: -f[0])
    taken, hits = set(), []
    for _, picture, box in ranked:
        best = max(((overlap(box, b), j) for j, (_, b) in enumerate(truth[picture]) if (picture, j) not in taken), default=(0, 0))
        hits.append(best[0] >= 0.5)
        if hits[-1]:
            taken.add((picture, best[1]))
    total, right, curve = sum(map(len, truth)), 0, []
    for rank, hit in enumerate(hits, 1):
        right += hit
        curve.append((right / total, right / rank))
    area, reached, envelope = 0.0, 1.0, 0.0
    for (recall, precision), before in reversed(list(zip(curve, [(0.0, 0.0)] + curve))):
        envelope = max(envelope, precision)
        area += (recall - before[0]) * envelope
    return 100 * area
