#!/usr/bin/env python3
"""Trains the line reader on lines that a second process draws while the first one learns.

CTC learns to place characters before it learns to tell them apart, and does the former fastest on few columns. So the lines begin
short and clean, grow with the training, and wear sets in gradually; every batch holds about the same number of columns. The learning
rate warms up, then follows a cosine. Products are taken in bfloat16, twice as fast where the processor has them, and in float32 for
the last part, so that the running statistics of the normalisations are those of the float network. The exported weights are an
exponential average of the trained ones. Progress runs from 0 to 1 either by steps (`--steps`) or by the clock (`--time`, which fits
a machine). A checkpoint every few minutes holds all state, and the same command resumes from it.

    ./train.py --steps 5420 --work /tmp/line_reader      # train; the checkpoint, log.csv and line_reader.onnx land there
    ./train.py --work /tmp/line_reader --export-only      # write line_reader.onnx from the checkpoint as it is
"""

import argparse
import copy
import csv
import math
import multiprocessing
import os
import time

import torch

from ctc import greedy_text, score
from network import LineReader, export_onnx
from render import WIDTH, LineRenderer, batch

COLUMNS = 8192
PEAK_RATE, LAST_RATE, WARM_UP = 3e-3, 1e-5, 300
EXACT_FROM = 0.85


def plan(progress, index):
    """(width, lines, wear) of the batch: 128 wide and clean at first, then 256 with growing wear, at last half of them full."""
    wear = min(1.0, max(0.0, (progress - 0.06) / 0.2))
    width = 128 if progress < 0.08 else WIDTH if index % (2 if progress > 0.75 else 8) == 0 else 256
    return width, COLUMNS // width, wear


def draw_batches(wanted, drawn, seed):
    renderer = LineRenderer()
    for index, progress in iter(wanted.get, None):
        width, lines, wear = plan(progress, index)
        drawn.put((width, wear, *batch(renderer, seed, index, lines, width, wear)))


class Batches:
    """A process that draws a few batches ahead. `next(progress)` returns (width, wear, texts, pixels)."""

    def __init__(self, seed, first, ahead=12):
        context = multiprocessing.get_context("fork")
        self.wanted, self.drawn, self.index, self.ahead = context.Queue(), context.Queue(), first, ahead
        context.Process(target=draw_batches, args=(self.wanted, self.drawn, seed), daemon=True).start()

    def next(self, progress):
        while self.ahead >= 0:
            self.wanted.put((self.index, progress))
            self.index, self.ahead = self.index + 1, self.ahead - 1
        self.ahead += 1
        return self.drawn.get()


def to_input(pixels):
    tensor = (torch.from_numpy(pixels).float() - 127.5) / 127.5
    return tensor[:, None].contiguous(memory_format=torch.channels_last)


def ctc_loss(logits, texts):
    targets = torch.tensor([ord(character) - 0x1F for text in texts for character in text])
    lengths = torch.tensor([len(text) for text in texts])
    columns = torch.full_like(lengths, logits.shape[1])
    return torch.nn.functional.ctc_loss(logits.transpose(0, 1).log_softmax(2), targets, columns, lengths, zero_infinity=True)


@torch.no_grad()
def read_lines(model, pixels, lines=16):
    model.eval()
    return [greedy_text(logits) for start in range(0, len(pixels), lines) for logits in model(to_input(pixels[start:start + lines]))]


class Trainer:
    def __init__(self, arguments):
        torch.manual_seed(arguments.seed)
        self.arguments = arguments
        self.model = LineReader(arguments.widths).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
        self.step, self.seconds = 0, 0.0
        self.checkpoint = os.path.join(arguments.work, "checkpoint.pt")
        if os.path.exists(self.checkpoint):
            state = torch.load(self.checkpoint)
            self.step, self.seconds = state["step"], state["seconds"]
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            print(f"resumed at step {self.step}, {self.seconds:.0f} s", flush=True)

    def progress(self):
        limit = self.arguments.steps
        return min(1.0, self.step / limit if limit else self.seconds / self.arguments.time)

    def rate(self):
        cosine = LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * self.progress()))
        return cosine * min(1.0, (self.step + 1) / WARM_UP)

    def learn(self, texts, pixels):
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.progress() < EXACT_FROM):
            logits = self.model(to_input(pixels))
        logits = logits.float()
        loss = ctc_loss(logits, texts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self.follow(min(0.999, self.step / (self.step + 50)))
        return loss.item(), logits.detach()

    @torch.no_grad()
    def follow(self, keep):
        for mine, theirs in zip(self.average.state_dict().values(), self.model.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)

    def save(self):
        state = {"step": self.step, "seconds": self.seconds, "model": self.model.state_dict(), "average": self.average.state_dict(),
                 "optimizer": self.optimizer.state_dict()}
        torch.save(state, self.checkpoint + ".new")
        os.replace(self.checkpoint + ".new", self.checkpoint)

    def export(self):
        path = os.path.join(self.arguments.work, "line_reader.onnx")
        export_onnx(copy.deepcopy(self.average).to(memory_format=torch.contiguous_format), path, WIDTH)
        return path


def run(trainer, log):
    """Learns until progress reaches 1. Every 50 steps one line in the log; every `--save-every` a checkpoint and its accuracy."""
    texts_seen, pixels_seen = batch(LineRenderer(), "validation", 0, 128, WIDTH, 0.5)
    batches = Batches(trainer.arguments.seed, trainer.step)
    clock, saved = time.monotonic(), time.monotonic()
    while trainer.progress() < 1:
        width, wear, texts, pixels = batches.next(trainer.progress())
        loss, logits = trainer.learn(texts, pixels)
        now = time.monotonic()
        trainer.seconds, clock = trainer.seconds + now - clock, now
        last = trainer.progress() >= 1
        if trainer.step % 50 == 0 or last:
            characters, _ = score(texts, [greedy_text(one) for one in logits])
            row = [trainer.step, round(trainer.seconds), width, f"{wear:.2f}", f"{trainer.rate():.2e}", f"{loss:.4f}", f"{max(0, characters):.4f}", "", ""]
            if last or now - saved > trainer.arguments.save_every:
                row[7:] = [f"{value:.4f}" for value in score(texts_seen, read_lines(trainer.average, pixels_seen))]
                trainer.save()
                saved = time.monotonic()
            log.writerow(row)
            print(*row, flush=True)


def seconds(text):
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]] if text[-1] in "smh" else float(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default="/tmp/line_reader", help="folder of the checkpoint, the log and the exported network")
    parser.add_argument("--time", type=seconds, default="60m", help="length of the training by the clock, as 90s, 40m or 2h")
    parser.add_argument("--steps", type=int, help="length of the training in steps; the clock is then ignored")
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))), default=(16, 24, 48, 80, 160), help="channels of the five sizes; a small dense rival has 4,6,12,20,36")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=seconds, default="3m")
    parser.add_argument("--export-only", action="store_true", help="write the network of the checkpoint and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    os.makedirs(arguments.work, exist_ok=True)
    trainer = Trainer(arguments)
    if not arguments.export_only:
        with open(os.path.join(arguments.work, "log.csv"), "a", newline="", buffering=1) as file:
            log = csv.writer(file)
            if trainer.step == 0:
                log.writerow("step seconds width wear rate loss batch_characters validation_characters validation_lines".split())
            run(trainer, log)
    print("wrote", trainer.export())


if __name__ == "__main__":
    main()
