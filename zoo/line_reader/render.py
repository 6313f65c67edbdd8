"""Pictures of printed lines, as a scanner or a camera would give them, from Debian's fonts.

A line is drawn as ink coverage at its own resolution, bent a little, blurred, cropped with some margin, put on paper with uneven
light, grain and JPEG losses, and only then brought to the network's 32 rows by the same `fit` that a user's own picture goes
through. `wear` from 0 to 1 scales how often and how strongly this happens; 0 is a clean black-on-white line. Whole font families
are held out of training (HELD_OUT) so that the stated accuracy is about letters of a cut that the network has never seen.
Glyphs are placed by FreeType's basic layout: no ligatures, which would draw two characters as one sign.
"""

import functools
import glob
import io
import os
import random

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from line_text import PRINTABLE, LineText

HEIGHT, WIDTH = 32, 512
FONT_ROOT = "/usr/share/fonts"
TRAINING = """DejaVuSans DejaVuSerif DejaVuSansMono DejaVuSansCondensed LiberationSans LiberationSerif LiberationMono LiberationSansNarrow
    FreeSans FreeSerif FreeMono Lato Roboto RobotoCondensed RobotoSlab Inconsolata Hack Caladea EBGaramond12 ComicNeue C059 P052
    URWBookman URWGothic NimbusSans NimbusRoman NimbusMonoPS Courier_Prime Anonymous_Pro Vollkorn ClearSans Quicksand OldStandard
    FiraCode PTS PTF PTM OCRB""".split()
HELD_OUT = "OpenSans Cantarell GenBas LinLibertine_R JetBrainsMono".split()
STYLES = {"": 4, "regular": 4, "roman": 4, "r": 4, "55f": 4, "book": 4, "medium": 3, "light": 2, "bold": 2, "demi": 2, "b": 2, "rb": 2, "75f": 2,
          "italic": 2, "oblique": 2, "i": 2, "ri": 2, "56f": 2, "bolditalic": 1, "boldoblique": 1, "bi": 1, "rbi": 1, "76f": 1,
          "semibold": 1, "demiitalic": 1, "bdita": 1, "lightitalic": 1, "bookoblique": 1}
FILTERS = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def find_fonts(families):
    """[(path, weight)] of the given families' files, one weight per family shared among its styles; sorted, so that seeds hold."""
    files = {}
    for path in glob.glob(FONT_ROOT + "/**/*", recursive=True):
        stem, extension = os.path.splitext(os.path.basename(path).replace(" ", "_"))
        if extension in (".ttf", ".otf"):
            files[stem] = path
    found = []
    for family in families:
        mine = []
        for stem, path in sorted(files.items()):
            style = stem[len(family):].strip("-_").lower().replace("_", "")
            if stem.startswith(family) and style in STYLES:
                mine.append((path, STYLES[style]))
        if not mine:
            raise FileNotFoundError(f"no font file of the family {family}: install the packages named in README.md")
        total = sum(weight for _, weight in mine)
        found += [(path, weight / total) for path, weight in mine]
    return found


@functools.lru_cache(maxsize=512)
def open_font(path, size):
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def lacks_glyphs(path):
    """The printable ASCII characters that this font draws as nothing or as its mark for a missing character."""
    font = open_font(path, 32)
    missing = bytes(font.getmask("\U0010FFFD"))
    return [c for c in PRINTABLE[1:] if bytes(font.getmask(c)) in (missing, b"")]


def fit(image, width=WIDTH, resample=Image.Resampling.BILINEAR):
    """The network's preprocessing: grey, 32 rows with the aspect kept (narrower where it would pass `width`), white to the right.
    Returns uint8 [32, width]. The network's input value is (pixel - 127.5) / 127.5."""
    image = image.convert("L")
    columns = min(width, max(1, round(image.width * HEIGHT / image.height)))
    fitted = numpy.full((HEIGHT, width), 255, numpy.uint8)
    fitted[:, :columns] = numpy.asarray(image.resize((columns, HEIGHT), resample))
    return fitted


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("L")


class LineRenderer:
    """Draws random lines in random fonts; all choices come from the random.Random passed to `line`."""

    def __init__(self, families=TRAINING, text=None):
        self.text = text or LineText()
        self.fonts = find_fonts(families)
        for path, _ in self.fonts:
            lacking = lacks_glyphs(path)
            if lacking:
                raise ValueError(f"{path} cannot draw {''.join(lacking)!r}: take it out of the list in render.py")

    def line(self, rng, width=WIDTH, wear=1.0):
        """One (text, uint8 [32, width]) pair whose text fits the width."""
        paths, weights = zip(*self.fonts)
        while True:
            font = open_font(rng.choices(paths, weights)[0], rng.randint(20, 42))
            stretch = rng.uniform(0.88, 1.14) if rng.random() < 0.5 * wear else 1.0
            text = self.fitting_text(rng, font, width, stretch)
            image = self.picture(rng, text, font, wear)
            scale = HEIGHT / image.height
            columns = max(4, round(image.width * scale * stretch))
            if columns <= width * 1.15 and image.width > 3:
                break
        image = image.resize((max(1, round(image.width * stretch)), image.height), Image.Resampling.BILINEAR) if stretch != 1.0 else image
        pixels = fit(image, width, rng.choice(FILTERS))
        if rng.random() < 0.3 * wear:
            columns = min(columns, width)
            pixels[:, :columns] = self.grain(rng, pixels[:, :columns].astype(numpy.float32), rng.uniform(0, 9) * wear)
        return text, pixels

    def fitting_text(self, rng, font, width, stretch):
        """Text whose drawn length stays under `width` at the scale that the line will most likely have."""
        room = 0.94 * width * font.size * 1.2 / HEIGHT / stretch
        wanted = room * (1 if rng.random() < 0.7 else rng.random())
        text = self.text.make(rng, max(1, round(wanted / (0.45 * font.size))))
        while len(text) > 1 and font.getlength(text) > wanted:
            text = text[:-max(1, round(len(text) * (1 - wanted / font.getlength(text))))].strip() or text[0]
        return text

    def picture(self, rng, text, font, wear):
        """The line as a grey picture at its own resolution, cropped as a careful or a careless person would crop it."""
        size = font.size
        spacing = rng.uniform(-0.02, 0.14) * size if rng.random() < 0.25 * wear else 0.0
        length = font.getlength(text) + spacing * len(text)
        canvas = Image.new("L", (int(length + 2 * size), round(2.2 * size)), 0)
        baseline = round(1.5 * size)
        draw = ImageDraw.Draw(canvas)
        if spacing:
            x = float(size)
            for character in text:
                draw.text((x, baseline), character, fill=255, font=font, anchor="ls")
                x += font.getlength(character) + spacing
        else:
            draw.text((size, baseline), text, fill=255, font=font, anchor="ls")
        if rng.random() < 0.5 * wear:
            canvas = self.bend(rng, canvas, length)
        if size > 32 and rng.random() < 0.12 * wear:
            canvas = canvas.filter(ImageFilter.MaxFilter(3))
        if rng.random() < 0.5 * wear:
            canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0) * wear * size / 26))
        coverage = numpy.asarray(canvas.crop(self.crop_box(rng, canvas, font, baseline)), numpy.float32) / 255
        return self.on_paper(rng, coverage, wear)

    def bend(self, rng, canvas, length):
        """A slight turn and slant about the middle of the line; long lines turn less."""
        turn = rng.gauss(0, 0.006) if length > 10 * canvas.height else rng.gauss(0, 0.012)
        slant = rng.uniform(-0.08, 0.12) if rng.random() < 0.4 else 0.0
        x, y = canvas.width / 2, canvas.height / 2
        matrix = (1, slant, -slant * y, turn, 1, -turn * x)
        return canvas.transform(canvas.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)

    def crop_box(self, rng, canvas, font, baseline):
        size = font.size
        left, top, right, bottom = canvas.getbbox() or (0, 0, canvas.width, canvas.height)
        if rng.random() < 0.5:
            ascent, descent = font.getmetrics()
            top, bottom = min(top, baseline - min(ascent, size)), max(bottom, baseline + min(descent, 0.3 * size))
        else:
            top, bottom = min(top, baseline - 0.7 * size), max(bottom, baseline)
        top, bottom = top - rng.uniform(0.02, 0.12) * size, bottom + rng.uniform(0.02, 0.12) * size
        lack = max(0.0, 0.98 * size - (bottom - top))
        share = rng.random()
        left, right = left - rng.uniform(0, 0.4) * size, right + rng.uniform(0, 0.4) * size
        return (max(0, round(left)), round(top - lack * share), min(canvas.width, round(right)), round(bottom + lack * (1 - share)))

    def on_paper(self, rng, coverage, wear):
        paper, ink = 255.0, 0.0
        if rng.random() < 0.7 * wear:
            paper, ink = rng.uniform(170, 255), rng.uniform(0, 90)
        elif rng.random() < 0.3:
            ink = rng.uniform(0, 80)
        pixels = paper + (ink - paper) * coverage
        if rng.random() < 0.4 * wear:
            ramp = numpy.linspace(-1, 1, coverage.shape[1], dtype=numpy.float32)
            pixels += ramp * rng.uniform(-25, 25) + numpy.linspace(-1, 1, coverage.shape[0], dtype=numpy.float32)[:, None] * rng.uniform(-12, 12)
        if rng.random() < 0.4 * wear:
            pixels = self.grain(rng, pixels, rng.uniform(0, 16) * wear)
        image = Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))
        return jpeg(image, rng.randint(25, 90)) if rng.random() < 0.25 * wear else image

    def grain(self, rng, pixels, strength):
        noise = numpy.random.default_rng(rng.getrandbits(32)).standard_normal(pixels.shape, numpy.float32)
        return numpy.clip(pixels + noise * strength, 0, 255).astype(pixels.dtype)


def batch(renderer, seed, index, count, width, wear):
    """Batch number `index` of a seeded stream: (list of texts, uint8 [count, 32, width])."""
    rng = random.Random(f"{seed}/{index}/{width}")
    lines = [renderer.line(rng, width, wear) for _ in range(count)]
    return [text for text, _ in lines], numpy.stack([pixels for _, pixels in lines])
