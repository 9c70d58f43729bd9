"""Numbered messages of every size, for any peer to send: made once, kept in two files."""

import json
import math
import random
from pathlib import Path

SIZE_MAX = 1 << 20
# Where a frame's header, a read or a limit changes its form.
EDGES = [125, 126, 127, 65_535, 65_536, 65_537, SIZE_MAX - 1, SIZE_MAX]
TEXT = "plain ASCII, mostly; \"quotes\", back\\slashes, \t\r\n\x00\x1f\x7f, é ß Ω ж 中 文 € 🧵 \U0010ffff "


class Messages:
    """The messages of one seed. `all` is a list of str (text) and bytes (binary)."""

    def __init__(self, directory: Path, count: int, seed: int, size_max: int = SIZE_MAX):
        self.directory = directory
        self.all = list(generate(count, seed, size_max))
        with open(directory / "payloads", "wb") as payloads:
            payloads.writelines(payload(message) for message in self.all)
        index = [[kind(message), len(payload(message))] for message in self.all]
        (directory / "index.json").write_text(json.dumps(index))

    def __len__(self):
        return len(self.all)


def read(directory: Path):
    """The messages that another process has written."""
    index = json.loads((Path(directory) / "index.json").read_text())
    with open(Path(directory) / "payloads", "rb") as payloads:
        for form, size in index:
            data = payloads.read(size)
            yield data.decode() if form == "text" else data


def generate(count, seed, size_max):
    """Random bytes, text of random characters, and JSON in turn of chance: from what does not compress to what does well."""
    draw = random.Random(seed)
    letters = [draw.choice(TEXT) for _ in range(1 << 16)]
    binary = draw.randbytes(2 * SIZE_MAX)
    texts = ["".join(letters).encode(), "".join(record(draw) for _ in range(1 << 12)).encode()]
    texts = [text * (2 * SIZE_MAX // len(text) + 1) for text in texts]
    edges = [edge for edge in EDGES if edge <= size_max]
    for number in range(1, count + 1):
        head = f"{number}:".encode()
        size = edges[number - 1] if number <= len(edges) else log_uniform(draw, len(head), size_max)
        start = draw.randrange(SIZE_MAX)
        if draw.random() < 0.5:
            yield head + binary[start : start + size - len(head)]
        else:
            # A character that is cut in two is left out; the size is made up with spaces.
            body = draw.choice(texts)[start : start + size - len(head)].decode(errors="ignore")
            yield (head.decode() + body).ljust(size - len(body.encode()) + len(body))


def record(draw):
    symbol = draw.choice(["BTC-USD", "ETH-USD", "SOL-EUR"])
    price, size = draw.uniform(1, 99_999), draw.expovariate(1)
    return f'{{"type":"trade","symbol":"{symbol}","price":"{price:.2f}","size":{size:.6f}}}\n'


def log_uniform(draw, size_min, size_max):
    return round(math.exp(draw.uniform(math.log(size_min), math.log(size_max))))


def kind(message):
    return "text" if isinstance(message, str) else "binary"


def payload(message):
    return message.encode() if isinstance(message, str) else message
