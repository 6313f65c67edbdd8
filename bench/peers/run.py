"""Measures every peer on every net, side by side, and writes results.csv and results.md.

    bench/peers/run.sh [--nets a,b] [--peers "onnxruntime int8,pith"] [--rounds 6] [--threads 1,2] [--no-timing] [--quick]

For each net: every peer makes its files, is judged on the task's data, and loads and runs three times in a fresh process
for load time and memory. Then all peers that work are started at once, each in its own process, and take turns: a turn
is some inferences in a row (about 50 ms, at least 6) after one that is thrown away; the order of turns is reversed from
round to round. So a slow spell of the machine, or its clock, meets all of them alike. Median, 95th percentile and least of
all inferences of all turns are kept.

A short spell of quiet is enough where files and qualities are ready: `run.sh --no-timing` at any time, then `run.sh --quick`, which
loads once, takes five turns of 30 ms, and leaves the controls' rows as they are.

Peers' files and qualities are kept under build/peers and made again only when something they depend on changed; rows of
nets and peers that were not asked for stay as they were.
"""

import argparse
import json
import lzma
import os
import pickle
import statistics
import subprocess
import sys
from pathlib import Path

import datasets
import table
from peers import PEERS
from tasks import TASKS, Task

HERE = Path(__file__).parent
LOG = datasets.WORK / "log"
TURN_MS = 50.0
REFERENCE = "onnxruntime float"


def command(verb: str, task: Task, peer: str, *more) -> list[str]:
    return [sys.executable, str(HERE / "worker.py"), verb, task.net, peer, *map(str, more)]


def ask(verb: str, task: Task, peer: str, *more) -> dict:
    """One answer of a fresh worker; a crash becomes {"unavailable": last line of its log}."""
    LOG.mkdir(parents=True, exist_ok=True)
    log = LOG / f"{task.net}.{peer.replace(' ', '-')}.{verb}.log"
    with log.open("w") as errors:
        done = subprocess.run(command(verb, task, peer, *more), stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout)
    lines = log.read_text(errors="replace").strip().splitlines() or [f"status {done.returncode}"]
    return {"unavailable": f"{verb} failed: {lines[-1][:160]}"}


class Turns:
    """A peer that waits in its own process to be told how many inferences to time."""

    def __init__(self, task: Task, peer: str, threads: int):
        with (LOG / f"{task.net}.{peer.replace(' ', '-')}.serve.log").open("w") as errors:
            self.process = subprocess.Popen(
                command("serve", task, peer, threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.ready = "ready" in json.loads(self.process.stdout.readline() or "{}")
        self.times: list[float] = []
        self.count = 6

    def take(self, keep: bool, turn_ms: float) -> None:
        self.process.stdin.write(f"{self.count}\n")
        self.process.stdin.flush()
        times = json.loads(self.process.stdout.readline())["ms"]
        if keep:
            self.times += times
        else:
            self.count = max(6, min(500, round(turn_ms / max(statistics.median(times), 1e-3))))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def time_side_by_side(task: Task, names: list[str], threads: int, rounds: int, turn_ms: float = TURN_MS) -> dict[str, list[float]]:
    peers = {name: Turns(task, name, threads) for name in names}
    working = {name: peer for name, peer in peers.items() if peer.ready}
    for number in range(-1, rounds):
        for name in list(working)[:: 1 if number % 2 else -1]:
            working[name].take(number >= 0, turn_ms)
    for peer in peers.values():
        peer.close()
    return {name: peer.times for name, peer in working.items()}


def median_of(answers: list[dict], field: str) -> float:
    return statistics.median(answer[field] for answer in answers)


def quality_columns(task: Task, answer: dict) -> dict:
    """What the judge said, in the table's columns."""
    scores = answer["scores"] | {"agreement": answer["agreement"]}
    return {
        "metric": task.metric,
        "quality": f"{scores[task.metric]:.2f}",
        "agreement": f"{answer['agreement']:.2f}",
        "n": answer["n"],
        "other": "; ".join(f"{name} {value:.4g}" for name, value in scores.items() if name not in (task.metric, "agreement")),
    }


def prepare_peer(task: Task, peer: str, calibrated: int, loads: int) -> dict:
    """Everything about one peer on one net but its speed; `note` alone where it cannot do the net."""
    row = {"net": task.net, "peer": peer, "kind": PEERS[peer].kind}
    built = ask("build", task, peer)
    if "unavailable" in built:
        return row | {"note": built["unavailable"]}
    judged = ask("evaluate", task, peer)
    if "unavailable" in judged:
        return row | {"note": judged["unavailable"]}
    fresh = [ask("memory", task, peer, 1) for _ in range(loads)]
    failed = [answer["unavailable"] for answer in fresh if "unavailable" in answer]
    if failed:
        return row | {"note": failed[0]}
    data = b"".join((PEERS[peer].folder(task) / name).read_bytes() for name in built["files"])
    return row | quality_columns(task, judged) | {
        "bytes": built["bytes"],
        "xz_bytes": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        "calibration_n": calibrated if PEERS[peer].kind == "int8" else "",
        "load_ms": f"{median_of(fresh, 'load_ms'):.2f}",
        "first_ms": f"{median_of(fresh, 'first_ms'):.3f}",
        "rss_beyond_engine_kb": round(median_of(fresh, "beyond_engine") / 1024),
        "rss_beyond_empty_kb": round(median_of(fresh, "beyond_empty") / 1024),
        "note": built["note"],
    }  # fmt: skip


def control_rows(task: Task) -> list[dict]:
    import controls
    from peer import Unavailable

    reference = pickle.loads((PEERS[REFERENCE].folder(task) / "kept.pickle").read_bytes())["kept"]
    rows = []
    for name in controls.CONTROLS:
        row = {"net": task.net, "peer": name, "kind": "control"}
        try:
            answer = controls.measure(task, name, reference)
            rows.append(row | quality_columns(task, answer) | {"bytes": answer["bytes"], "note": "size and quality only"})
        except Unavailable as problem:
            rows.append(row | {"note": str(problem)})
    return rows


def measure_net(task: Task, names: list[str], options) -> list[dict]:
    calibrated = len(task.calibration_keys())
    prepared = {}
    for peer in sorted(names, key=lambda name: name != REFERENCE):
        print(f"{task.net}: {peer}", file=sys.stderr, flush=True)
        prepared[peer] = prepare_peer(task, peer, calibrated, 1 if options.quick else 3)
    rows = [prepared[peer] for peer in names]
    able = [row["peer"] for row in rows if "quality" in row]
    for threads in options.threads:
        print(f"{task.net}: timing with {threads} thread(s)", file=sys.stderr, flush=True)
        timed = time_side_by_side(task, able, threads, options.rounds, 30.0 if options.quick else TURN_MS)
        for row in rows:
            times = sorted(timed.get(row["peer"], []))
            if times:
                row |= {
                    f"ms_{threads}": f"{statistics.median(times):.4f}",
                    f"p95_{threads}": f"{times[int(0.95 * (len(times) - 1))]:.4f}",
                    f"min_{threads}": f"{times[0]:.4f}",
                    "runs": len(times),
                }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(TASKS), help="comma-separated (default: all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated; the float original always runs")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each peer; 6 inferences or more to a turn")
    parser.add_argument("--no-timing", action="store_true", help="files, quality and memory only")
    parser.add_argument("--quick", action="store_true", help="one load, five short turns, no controls: minutes for all nets once their files are there")
    parser.add_argument("--no-controls", action="store_true", help="leave out the size controls")
    parser.add_argument("--output", type=Path, default=HERE / "results.csv")
    options = parser.parse_args()
    unknown = set(options.nets.split(",")) - set(TASKS) | set(options.peers.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}; nets: {', '.join(TASKS)}; peers: {', '.join(PEERS)}")
    if options.quick:
        options.rounds, options.no_controls = min(options.rounds, 5), True
    if options.rounds * 6 < 30:
        parser.error("--rounds: fewer than 5 give fewer than 30 inferences")
    options.threads = [] if options.no_timing else [int(count) for count in options.threads.split(",")]
    names = [name for name in PEERS if name == REFERENCE or name in options.peers.split(",")]
    print(f"load average {os.getloadavg()[0]:.1f}: timings mean something only on a quiet machine", file=sys.stderr)
    for net in options.nets.split(","):
        task = TASKS[net]
        rows = measure_net(task, names, options)
        if not options.no_controls:
            rows += control_rows(task)
        table.merge(options.output, rows)
    table.write_markdown(options.output)
    print(options.output.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
