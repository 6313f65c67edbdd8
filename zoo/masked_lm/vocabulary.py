"""A WordPiece vocabulary from plain text: pieces joined greedily by how often they stand beside each other.

Words are lower-case runs of letters or digits, or single other characters, as BERT's uncased tokeniser parts them. Joining is
byte-pair encoding over the distinct words (Sennrich et al., 2016); pieces inside a word begin with "##". Tokens of a word are
the longest pieces from the left, which is how the vocabulary will be read (vocab.txt).
"""

import collections
import pathlib
import re
import unicodedata

def read(folder):
    """Lines of all text files of a folder: those to learn from, and every fiftieth of each file, held out."""
    kept, held = [], []
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        for i, line in enumerate(line for line in path.read_text(errors="replace").split("\n") if line.strip()):
            (held if i % 50 == 49 else kept).append(line.strip())
    return kept, held


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words_of(text):
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return re.findall(r"[^\W_]+|[^\w\s]|_", plain)


def learn(counts, size):
    """Pieces for a table of word counts: specials, letters in both places, then joins until there are `size`."""
    words = {w: [w[0]] + ["##" + c for c in w[1:]] for w in counts}
    letters = collections.Counter()
    for w, pieces in words.items():
        for p in pieces:
            letters[p] += counts[w]
    vocabulary = SPECIAL + [p for p, _ in letters.most_common(400)]
    pairs, where = collections.Counter(), collections.defaultdict(set)

    def note(word, sign):
        pieces = words[word]
        for pair in zip(pieces, pieces[1:]):
            pairs[pair] += sign * counts[word]
            where[pair].add(word)

    for w in words:
        note(w, 1)
    while len(vocabulary) < size and pairs:
        (a, b), n = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if n < 2:
            break
        joined = a + b[2:]
        for w in list(where[(a, b)]):
            note(w, -1)
            pieces, i, out = words[w], 0, []
            while i < len(pieces):
                if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == (a, b):
                    out.append(joined)
                    i += 2
                else:
                    out.append(pieces[i])
                    i += 1
            words[w] = out
            note(w, 1)
        del pairs[(a, b)]
        if joined not in vocabulary:
            vocabulary.append(joined)
    return vocabulary


def tokens_of(word, index, cache):
    """Ids of a word: longest piece first, [UNK] where no piece fits."""
    if word in cache:
        return cache[word]
    ids, at = [], 0
    while at < len(word):
        for end in range(len(word), at, -1):
            piece = ("##" if at else "") + word[at:end]
            if piece in index:
                ids.append(index[piece])
                at = end
                break
        else:
            ids = [index["[UNK]"]]
            break
    cache[word] = ids
    return ids
