#!/usr/bin/env python3
"""Draws many clips out of few, for retraining a keyword network without labels: a tar archive of 16-bit wav files.

    ./augment.py --clips speech-commands-v2-test600.tar.xz --half 0 --variants 24 --output half0.tar
    ./augment.py --clips speech-commands-v2-test600.tar.xz --half 1 --variants 0 --output other.tar     # the other half as it is, with labels.txt beside

Every second clip (by its place in the archive) is in half 0. A variant is moved by up to a tenth of a second, made louder or softer by up to 6 dB, played up to 8 %
faster or slower, and laid over a stretch of another clip of the same half at -10 to -40 dB, or over white noise. Needs numpy.
"""
import argparse
import io
import pathlib
import tarfile
import wave

import numpy

KEYWORDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_"]


def read_clips(path, half):
    with tarfile.open(path) as archive:
        members = [m for m in archive if m.isfile() and m.name.endswith(".wav")]
        chosen = [m for i, m in enumerate(members) if i % 2 == half]
        clips = []
        for m in chosen:
            with wave.open(io.BytesIO(archive.extractfile(m).read())) as w:
                samples = numpy.frombuffer(w.readframes(w.getnframes()), numpy.int16).astype(numpy.float32) / 32768
            clips.append((m.name, numpy.pad(samples, (0, max(0, 16000 - len(samples))))[:16000]))
    return clips


def variant(clip, other, rng):
    speed = rng.uniform(0.92, 1.08)
    at = (numpy.arange(16000) - 8000) * speed + 8000 + rng.integers(-1600, 1601)
    moved = numpy.interp(at, numpy.arange(16000), clip, left=0, right=0)
    level = numpy.sqrt(numpy.mean(clip**2)) + 1e-5
    noise = numpy.roll(other, rng.integers(16000)) if rng.random() < 0.6 else rng.normal(size=16000)
    noise = noise / (numpy.sqrt(numpy.mean(noise**2)) + 1e-5) * level * 10 ** (rng.uniform(-40, -10) / 20)
    return (moved + noise) * 10 ** (rng.uniform(-6, 6) / 20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True)
    parser.add_argument("--half", type=int, choices=[0, 1], required=True)
    parser.add_argument("--variants", type=int, default=24)
    parser.add_argument("--output", required=True)
    a = parser.parse_args()
    rng, clips = numpy.random.default_rng(1 + a.half), read_clips(a.clips, a.half)
    with tarfile.open(a.output, "w") as archive:
        def add(name, samples):
            out = io.BytesIO()
            with wave.open(out, "wb") as w:
                w.setparams((1, 2, 16000, 0, "NONE", ""))
                w.writeframes((numpy.clip(samples, -1, 0.99996) * 32768).astype(numpy.int16).tobytes())
            info = tarfile.TarInfo(name)
            info.size = len(out.getvalue())
            out.seek(0)
            archive.addfile(info, out)

        for name, clip in clips:
            stem = name[:-4]
            add(name, clip)
            for v in range(a.variants):
                add(f"{stem}-{v:02}.wav", variant(clip, clips[rng.integers(len(clips))][1], rng))
    labels = "".join(f"{name} {KEYWORDS.index(pathlib.Path(name).parent.name)}\n" for name, _ in clips)
    pathlib.Path(a.output).with_suffix(".labels.txt").write_text(labels)


if __name__ == "__main__":
    main()
