"""A child process that does one thing for one peer and one net, so that engines, thread pools and memory never mix.

    worker.py build    NET PEER            make the peer's files
    worker.py evaluate NET PEER            quality and agreement on the task's data
    worker.py memory   NET PEER THREADS    load time and peak memory of a fresh process
    worker.py serve    NET PEER THREADS    load, then answer each line "N" on stdin by timing N inferences

Every answer is one line of JSON on stdout; whatever engines print goes to stderr.

Memory is VmHWM of /proc/self/status. The mark is reset (by writing 5 to clear_refs) once Python, numpy, the sample and
the engine's library are in, so that "beyond the engine" is what loading and running the net adds.
"""

import hashlib
import json
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np

from peer import Peer, Unavailable
from peers import PEERS
from tasks import TASKS, Task


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def digest_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build(task: Task, peer: Peer) -> dict:
    folder, made_by = peer.folder(task), digest_of(peer.makers())
    done = folder / "done.json"
    if done.exists() and (answer := json.loads(done.read_text())).get("made_by", digest_of([])) == made_by:
        return answer
    folder.mkdir(parents=True, exist_ok=True)
    answer = {"note": peer.build(task, folder), "bytes": sum(path.stat().st_size for path in peer.files(folder)), "made_by": made_by}
    answer["files"] = [path.name for path in peer.files(folder)]
    done.write_text(json.dumps(answer))
    return answer


def fingerprint(task: Task, peer: Peer) -> str:
    """Changes when the peer's files, its engine or the judging code change, so that qualities can be kept from run to run."""
    here = Path(__file__).parent
    judges = [here / name for name in ("tasks.py", "boxes.py", "features.py", "datasets.py")]
    return digest_of(peer.files(peer.folder(task)) + peer.makers() + judges)


def evaluate(task: Task, peer: Peer) -> dict:
    kept_at, mark = peer.folder(task) / "kept.pickle", fingerprint(task, peer)
    keys = task.keys()
    stored = pickle.loads(kept_at.read_bytes()) if kept_at.exists() else {"mark": ""}
    if stored["mark"] != mark:
        stored = {"mark": mark, "kept": peer.evaluate(task, keys)}
        kept_at.write_bytes(pickle.dumps(stored))
    original = PEERS["onnxruntime float"].folder(task) / "kept.pickle"
    reference = pickle.loads(original.read_bytes())["kept"]
    scores = task.score(keys, stored["kept"])
    return {"scores": scores, "agreement": task.agreement(stored["kept"], reference), "n": len(keys)}


def first_feed(task: Task) -> dict[str, np.ndarray]:
    return task.feed(task.keys()[0])


def memory(task: Task, peer: Peer, threads: int) -> dict:
    feed = first_feed(task)
    empty = resident("VmRSS")
    peer.start_engine()
    reset_peak()
    imported = resident("VmRSS")
    start = time.perf_counter()
    run = peer.load(task, peer.folder(task), threads)
    loaded = time.perf_counter()
    run(feed)
    first = time.perf_counter()
    for _ in range(4):
        run(feed)
    return {
        "load_ms": 1e3 * (loaded - start),
        "first_ms": 1e3 * (first - loaded),
        "beyond_empty": resident("VmHWM") - empty,
        "beyond_engine": resident("VmHWM") - imported,
    }


def serve(task: Task, peer: Peer, threads: int, answer) -> None:
    feed = first_feed(task)
    run = peer.load(task, peer.folder(task), threads)
    run(feed)
    answer({"ready": True})
    for line in sys.stdin:
        times = []
        run(feed)
        for _ in range(int(line)):
            start = time.perf_counter()
            run(feed)
            times.append(1e3 * (time.perf_counter() - start))
        answer({"ms": times})


def main() -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value: dict) -> None:
        channel.write(json.dumps(value) + "\n")
        channel.flush()

    verb, task, peer = sys.argv[1], TASKS[sys.argv[2]], PEERS[sys.argv[3]]
    try:
        if verb == "serve":
            serve(task, peer, int(sys.argv[4]), answer)
        elif verb == "memory":
            answer(memory(task, peer, int(sys.argv[4])))
        else:
            answer({"build": build, "evaluate": evaluate}[verb](task, peer))
    except Unavailable as problem:
        answer({"unavailable": str(problem)})


if __name__ == "__main__":
    main()
