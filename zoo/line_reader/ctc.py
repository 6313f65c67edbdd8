"""From logits to text, and from texts to figures; plain Python, so that any runner's output can be scored."""

import itertools


def greedy_text(logits):
    """CTC's best path: the strongest class per column, repeats merged, blanks dropped. logits: [T, 96]."""
    best = [key for key, _ in itertools.groupby(logits.argmax(-1).tolist())]
    return "".join(chr(0x1F + k) for k in best if k)


def edit_distance(a, b):
    """Levenshtein's distance of two strings."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def score(texts, readings):
    """(character accuracy, share of lines exactly right): 1 - edits / characters over the whole set."""
    edits = sum(edit_distance(text, reading) for text, reading in zip(texts, readings))
    return 1 - edits / sum(map(len, texts)), sum(map(str.__eq__, texts, readings)) / len(texts)
