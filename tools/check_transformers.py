#!/usr/bin/env python3
"""Holds pith's import of Hugging Face folders against PyPI's `transformers`: seeded random models of each kind, outputs side by side.

    tools/check_transformers.py PITH [--seed 7] [--csv results.csv] [--golden FOLDER]

Decoders run token by token, with their keys and values as state, and are compared with one pass over the whole sequence. Prints the
largest difference relative to the largest output; fails above 1e-4. --golden writes very small models and their outputs: those of
importers/huggingface/golden, which the unit test reads. Needs torch and transformers (4.36 was used).
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as T


def models(small):
    w, layers, heads, inner, v, length = (8, 1, 2, 12, 24, 16) if small else (48, 3, 4, 96, 300, 128)
    bert = dict(hidden_size=w, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner, vocab_size=v, max_position_embeddings=length + 4)
    llama = dict(hidden_size=w, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads, vocab_size=v, max_position_embeddings=32)
    gpt2 = T.GPT2Config(n_embd=w, n_layer=layers, n_head=heads, vocab_size=v, n_positions=32)
    distil = T.DistilBertConfig(dim=w, n_layers=layers, n_heads=heads, hidden_dim=inner, vocab_size=v, max_position_embeddings=length)
    vit = T.ViTConfig(hidden_size=w, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner, image_size=8 if small else 32,
                      patch_size=4 if small else 8, num_labels=5)
    yield "bert", T.BertModel(T.BertConfig(**bert)), "hidden", True
    yield "bert-mlm-bin", T.BertForMaskedLM(T.BertConfig(**bert)), "mask", False
    yield "roberta-mlm", T.RobertaForMaskedLM(T.RobertaConfig(**bert, pad_token_id=1)), "mask", True
    yield "gpt2", T.GPT2LMHeadModel(gpt2), "steps", True
    yield "llama-bin", T.LlamaForCausalLM(T.LlamaConfig(**llama, num_key_value_heads=heads // 2)), "steps", False
    yield "vit", T.ViTForImageClassification(vit), "picture", True
    if not small:
        yield "bert-classifier", T.BertForSequenceClassification(T.BertConfig(**bert, num_labels=5)), "class", True
        yield "roberta-classifier", T.RobertaForSequenceClassification(T.RobertaConfig(**bert, num_labels=3, pad_token_id=1)), "class", True
        yield "distilbert-mlm", T.DistilBertForMaskedLM(distil), "mask", True
        yield "llama", T.LlamaForCausalLM(T.LlamaConfig(**llama, num_key_value_heads=heads)), "steps", True


def reference(model, kind, length, vocabulary, rng):
    """Inputs of each run of pith, and the output that all of them give together."""
    if kind == "picture":
        x = rng.standard_normal((1, 3, model.config.image_size, model.config.image_size)).astype(np.float32)
        return [{"pixel_values": x}], model(pixel_values=torch.tensor(x)).logits.numpy().ravel()
    if kind == "steps":
        ids = rng.integers(0, vocabulary, (1, 10))
        steps = [{"token": ids[:, i:i + 1], "position": np.array([i])} for i in range(10)]
        return steps, model(input_ids=torch.tensor(ids)).logits[0].numpy().ravel()
    ids, mask = rng.integers(5, vocabulary, (1, length)), np.ones((1, length), np.int64)
    used = length * 5 // 8
    mask[:, used:] = 0
    result = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    inputs = {"input_ids": ids, "attention_mask": mask}
    if kind == "mask":
        inputs["mask_position"] = np.array([3])
        return [inputs], result.logits[0, 3].numpy()
    return [inputs], (result.logits if kind == "class" else result.last_hidden_state[:, :used]).numpy().ravel()


def run(pith, folder, runs, length, scratch):
    files = []
    for i, inputs in enumerate(runs):
        files.append(f"{scratch}/in{i:02d}.npz")
        np.savez(files[-1], **inputs)
    subprocess.run([pith, "run", folder, *files, "--save", f"{scratch}/out"], check=True, capture_output=True)
    names = [f"{scratch}/out.npy"] if len(files) == 1 else [f"{scratch}/out.{i}.npy" for i in range(len(files))]
    return np.concatenate([np.load(n).ravel() for n in names])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pith")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--csv")
    parser.add_argument("--golden")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    small, rows = args.golden is not None, []
    for name, model, kind, safe in models(small):
        model.eval()
        for p in model.parameters():
            if p.dim() == 1:  # norms and biases that are all ones and zeros would hide mistakes
                torch.nn.init.normal_(p, float(p.mean()), 0.2)
        length = 16 if small else 128
        with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
            folder = f"{args.golden}/{name}" if small else f"{scratch}/{name}"
            model.save_pretrained(folder, safe_serialization=safe)
            runs, expected = reference(model, kind, length, 24 if small else 300, rng)
            if small:
                for extra in ("generation_config.json",):
                    (pathlib.Path(folder) / extra).unlink(missing_ok=True)
                (pathlib.Path(folder) / "expected.json").write_text(json.dumps({
                    "runs": [{k: v.ravel().tolist() for k, v in r.items()} for r in runs], "output": [float(f"{x:.7g}") for x in expected]}) + "\n")
                continue
            got = run(args.pith, folder, runs, length, scratch)[:expected.size]
        error = float(np.abs(got - expected).max() / np.abs(expected).max())
        rows.append([name, sum(p.numel() for p in model.parameters()), expected.size, f"{error:.2e}"])
        print(*rows[-1], flush=True)
    if args.csv:
        with open(args.csv, "w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(["model", "parameters", "outputs", "largest_relative_error"])
            writer.writerows(rows)
    return any(float(r[3]) > 1e-4 for r in rows)


if __name__ == "__main__":
    sys.exit(main())
