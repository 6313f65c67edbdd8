"""What the training lines say.

A reader of printed lines must not become a guesser of English: much of what people photograph is names, prices, dates, serial
numbers and addresses. So a line is made by one of several small makers, chosen by weight: prose from a word list, figures, codes,
and plain noise over all 95 printable ASCII characters, which keeps every character frequent enough to be learnt and keeps the
network's belief in spelling weak. Every choice comes from the random.Random that the caller passes, so a seed gives the same lines
everywhere, given the same word list (Debian's wamerican).
"""

import string

WORD_LIST = "/usr/share/dict/words"
PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
COMMON = ("the of and to in a is that it was for on are as with his they at be this from I have or by one had not but what all "
          "were when we there can an your which their said if do will each about how up out them then she many some so these "
          "would other into has more her two like him see time could no make than first been its who now people my made over").split()


def load_words(path=WORD_LIST):
    """The ASCII words of the list, in its order. Raises FileNotFoundError with the package to install."""
    try:
        with open(path, encoding="utf-8") as file:
            words = [line.strip() for line in file]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: apt-get install wamerican") from None
    return [word for word in words if word.isascii() and 1 < len(word) < 15]


class LineText:
    """Makes one line of text at a time: `make(rng, length)` returns about `length` characters, single spaces, none at the ends."""

    def __init__(self, everyday=False):
        """`everyday`: only prose, names, amounts and dates, to measure what most pictures say."""
        self.words = load_words()
        self.makers = [(36, self.prose), (8, self.capitals), (8, self.names), (8, self.amounts), (6, self.dates), (8, self.codes),
                       (6, self.addresses), (6, self.inventions), (7, self.letters_and_digits), (7, self.anything)]
        if everyday:
            self.makers = [(60, self.prose), (14, self.names), (13, self.amounts), (13, self.dates)]

    def make(self, rng, length):
        weights = [weight for weight, _ in self.makers]
        parts, size = [], 0
        maker = rng.choices(self.makers, weights)[0][1]
        while size < length:
            if rng.random() < 0.15:
                maker = rng.choices(self.makers, weights)[0][1]
            parts.append(maker(rng))
            size += len(parts[-1]) + 1
        line = " ".join(" ".join(parts).split())
        return line[:max(1, length)].strip() or rng.choice(string.ascii_letters)

    def word(self, rng):
        return rng.choice(COMMON) if rng.random() < 0.4 else rng.choice(self.words)

    def prose(self, rng):
        word = self.word(rng)
        chance = rng.random()
        if chance < 0.10:
            word = word.capitalize()
        if chance > 0.80:
            word += rng.choices(",.;:?!", (8, 8, 2, 2, 2, 2))[0]
        elif chance > 0.74:
            left, right = rng.choice(['""', "''", "()", "[]", "{}", "<>", "**", "__", "``", "--", "//", "||"])
            word = left + word + right
        elif chance > 0.70:
            word += rng.choice("-/&+=_~@") + self.word(rng)
        return word

    def capitals(self, rng):
        return self.word(rng).upper() + rng.choice(["", "", "", ":", "!", "."])

    def names(self, rng):
        return self.word(rng).capitalize() + rng.choice(["", "", "", ",", ".", "'s", " &", " " + rng.choice(string.ascii_uppercase) + "."])

    def amounts(self, rng):
        value = rng.random() * 10 ** rng.randint(0, 6)
        plain = rng.choice([f"{value:.2f}", f"{value:,.2f}", f"{value:.0f}", f"{value:,.0f}", f"{value:.1f}"])
        return rng.choice(["", "$", "$", "-", "+", "#", "~", "<", ">", "=", "x"]) + plain + rng.choice(["", "", "%", " kg", " USD", "m", " x", "*"])

    def dates(self, rng):
        year, month, day = rng.randint(1900, 2049), rng.randint(1, 12), rng.randint(1, 28)
        hour, minute = rng.randint(0, 23), rng.randint(0, 59)
        name = rng.choice("January February March April May June July August September October November December Jan Feb Mar Sept Dec".split())
        return rng.choice([f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year % 100:02}", f"{day} {name} {year}",
                           f"{name} {day}, {year}", f"{hour:02}:{minute:02}", f"{hour % 12 + 1}:{minute:02} {rng.choice(['am', 'pm', 'AM', 'PM'])}"])

    def codes(self, rng):
        """Where letters and digits mix, I and O are left out, as makers of serial numbers do."""
        alphabet = rng.choice([string.digits, string.digits + "ABCDEFGHJKLMNPQRSTUVWXYZ", string.hexdigits[:16], string.ascii_uppercase])
        groups = ["".join(rng.choices(alphabet, k=rng.randint(2, 5))) for _ in range(rng.randint(1, 4))]
        return rng.choice(["", "", "No. ", "#", "Ref: ", "ID=", "+"]) + rng.choice("-- ./:_").join(groups)

    def addresses(self, rng):
        host = self.word(rng).lower() + "." + rng.choice("com org net de co.uk io".split())
        return rng.choice([f"{self.word(rng).lower()}@{host}", f"https://{host}/{self.word(rng)}", f"www.{host}", f"/usr/{self.word(rng)}/{self.word(rng)}.txt",
                           f"C:\\{self.word(rng)}\\{self.word(rng)}", f"{rng.randint(1, 999)} {self.word(rng).capitalize()} St.", f"{self.word(rng)}[{rng.randint(0, 99)}] = {rng.randint(0, 9)};",
                           f"({rng.randint(100, 999)}) {rng.randint(100, 999)}-{rng.randint(1000, 9999)}", f"if ({self.word(rng)} != {rng.randint(0, 9)}) {{"])

    def inventions(self, rng):
        word = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))
        return rng.choice([word, word, word.capitalize(), word.upper()])

    def letters_and_digits(self, rng):
        """Without I, l, O and 0, which no reader can tell apart where no word helps; `anything` still has them."""
        alphabet = [c for c in string.ascii_letters + string.digits if c not in "IlO0"]
        return "".join(rng.choices(alphabet, k=rng.randint(1, 10)))

    def anything(self, rng):
        return "".join(rng.choices(PRINTABLE[1:], k=rng.randint(1, 8)))
