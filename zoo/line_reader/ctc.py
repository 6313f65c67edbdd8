"""From logits to text, and from texts to figures; plain Python, so that any runner's output can be scored."""

import itertools


def collapse(classes):
    """CTC's map from one class per column to text: repeats merge, blanks (0) drop, class k is the character 0x1f + k."""
    return "".join(chr(0x1F + k) for k, _ in itertools.groupby(classes) if k)


def greedy_text(logits):
    """The text of the strongest class per column. logits: array or tensor [T, 96]."""
    return collapse(logits.argmax(-1).tolist())


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
