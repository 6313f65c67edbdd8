"""What a peer is: it makes its own file from the prepared ONNX net, loads it, and runs one sample at a time.

To add a peer: a class below `Peer` in a file `peer_<name>.py`, and one line in `peers.py`.
"""

import importlib
from pathlib import Path

import numpy as np

import datasets
from tasks import Run, Task


class Unavailable(Exception):
    """The peer cannot do this net; the message becomes the row's note."""


class Peer:
    """An inference engine at one precision. `engine` is the module whose import counts as its empty process."""

    name = ""
    engine = ""
    kind = "float"

    def folder(self, task: Task) -> Path:
        return datasets.WORK / "files" / task.net / self.name.replace(" ", "-")

    def build(self, task: Task, folder: Path) -> str:
        """Writes the deployable files into `folder`; returns a note for the table ("" for none)."""
        raise NotImplementedError

    def files(self, folder: Path) -> list[Path]:
        """The files that deployment needs; their bytes are what the table calls bytes."""
        raise NotImplementedError

    def makers(self) -> list[Path]:
        """Programs and libraries whose change makes files and qualities worthless; packages of fixed versions aren't among them."""
        return []

    def load(self, task: Task, folder: Path, threads: int) -> Run:
        """Makes the engine ready; timed."""
        raise NotImplementedError

    def evaluate(self, task: Task, keys: list) -> list:
        """What the task keeps of this peer's outputs on all keys."""
        return task.evaluate(self.load(task, self.folder(task), threads=1), keys)

    def start_engine(self) -> None:
        """Brings the engine's code into the process, before memory is measured."""
        importlib.import_module(self.engine)


def calibration_feeds(task: Task) -> list[dict[str, np.ndarray]]:
    """The samples every quantiser calibrates on, as inputs of the prepared graph."""
    from engines import ort_runner

    run = ort_runner(datasets.net_path(task.net), threads=1)
    return [task.static(feed) for feed in task.calibration(run)]
