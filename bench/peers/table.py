"""results.csv and what is made of it: one row for each (net, peer), comment lines for the machine, a Markdown table."""

import csv
import datetime
import os
from pathlib import Path

COLUMNS = [
    "net", "peer", "kind", "bytes", "xz_bytes", "metric", "quality", "agreement", "n", "other", "calibration_n",
    "load_ms", "first_ms", "ms_1", "p95_1", "min_1", "ms_2", "p95_2", "min_2", "runs",
    "rss_beyond_engine_kb", "rss_beyond_empty_kb", "date", "note",
]  # fmt: skip


def machine() -> list[str]:
    """The processor, its count and what it can do, from /proc/cpuinfo."""
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    telling = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "avx512_fp16") if flag in flags]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return [
        f"processor: {fields.get('model name', 'unknown')}, family {fields.get('cpu family')} model {fields.get('model')}, "
        f"{os.cpu_count()} cores, {', '.join(telling)}",
        f"memory: {int(memory) // 2**20} GiB; load average when written: {os.getloadavg()[0]:.2f}",
    ]


def read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def merge(path: Path, rows: list[dict]) -> None:
    """Replaces the rows of the same net and peer, keeps the others, and writes the machine above them."""
    today = datetime.date.today().isoformat()
    new = {(row["net"], row["peer"]): row | {"date": today} for row in rows}
    old = {(row["net"], row["peer"]): row for row in read(path)}
    kept = new | {key: row for key, row in old.items() if key not in new}
    nets = list(dict.fromkeys([net for net, _ in old] + [net for net, _ in new]))
    with path.open("w", newline="") as file:
        file.writelines(f"# {line}\n" for line in machine())
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for net in nets:
            writer.writerows(row for (name, _), row in kept.items() if name == net)


def cell(row: dict, column: str, scale: float = 1.0, digits: int = 1) -> str:
    return f"{float(row[column]) / scale:,.{digits}f}" if row.get(column) else ""


def write_markdown(path: Path) -> None:
    rows = read(path)
    lines = ["# pith and its peers", ""]
    lines += [f"{line}  " for line in machine()]
    lines += [
        "",
        "Time is the median of all inferences, turns alternating between peers; KB is memory beyond the engine's own code;",
        "quality is each net's own metric in per cent. Columns, methods and all figures: results.csv and run.py.",
    ]
    for net in dict.fromkeys(row["net"] for row in rows):
        mine = [row for row in rows if row["net"] == net]
        metric = next((row["metric"] for row in mine if row["metric"]), "quality")
        count = next((row["n"] for row in mine if row["n"]), "0")
        lines += ["", f"## {net}", ""]
        lines += [f"| | bytes | with xz | {metric} (n = {count}) | agreement | ms, 1 thread | p95 | ms, 2 threads | load ms | KB | |"]
        lines += ["| --- |" + " ---: |" * 9 + " --- |"]
        for row in mine:
            cells = [
                row["peer"].removeprefix("control: "), cell(row, "bytes", digits=0), cell(row, "xz_bytes", digits=0), row["quality"],
                row["agreement"], cell(row, "ms_1", digits=3), cell(row, "p95_1", digits=3), cell(row, "ms_2", digits=3),
                cell(row, "load_ms"), cell(row, "rss_beyond_engine_kb", digits=0), row["note"],
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
