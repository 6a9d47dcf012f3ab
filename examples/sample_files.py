"""Small GGUF files for the checks: written here, in Python alone, so that what the programs do is held against something else."""

import struct

ALIGNMENT = 32
F16_SCALE = "scale"  # marks the 16-bit floats of a block, which get small finite values; the rest is random

# name: (ggml's number, elements of a block, its bytes in order: a count of random ones, or F16_SCALE)
BLOCKS = {
    "q4_0": (2, 32, [F16_SCALE, 16]),
    "q4_1": (3, 32, [F16_SCALE, F16_SCALE, 16]),
    "q5_0": (6, 32, [F16_SCALE, 20]),
    "q8_0": (8, 32, [F16_SCALE, 32]),
    "q4_k": (12, 256, [F16_SCALE, F16_SCALE, 140]),
    "q5_k": (13, 256, [F16_SCALE, F16_SCALE, 172]),
    "q6_k": (14, 256, [208, F16_SCALE]),
    "f16": (1, 1, [F16_SCALE]),
}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def metadata():
    """Metadata entries of every value type, nested arrays included."""
    numbers = [(0, "B", 7), (1, "b", -7), (2, "H", 700), (3, "h", -700), (4, "I", 70000), (5, "i", -70000),
               (6, "f", 0.5), (7, "B", 1), (10, "Q", 1 << 40), (11, "q", -1 << 40), (12, "d", 0.25)]
    entries = [text("general.architecture") + struct.pack("<I", 8) + text("test"),
               text("general.alignment") + struct.pack("<II", 4, ALIGNMENT)]
    for number, code, value in numbers:
        entries.append(text(f"test.number.{number}") + struct.pack("<I" + code, number, value))
    words = ["hostile", "", "file"]
    entries.append(text("test.words") + struct.pack("<IIQ", 9, 8, len(words)) + b"".join(map(text, words)))
    entries.append(text("test.numbers") + struct.pack("<IIQ3I", 9, 4, 3, 1, 2, 3))
    entries.append(text("test.nested") + struct.pack("<IIQIQ2B", 9, 9, 1, 0, 2, 8, 9))
    return entries


def floats(rng, count):
    return struct.pack(f"<{count}f", *(rng.gauss(0, 1) for _ in range(count)))


def matrix(rng, type_name, n, k):
    """(dims, ggml's number, data) of random blocks."""
    number, elements, parts = BLOCKS[type_name]

    def scale():
        return struct.pack("<H", rng.randrange(0x2000, 0x2C00))

    data = b"".join(scale() if part is F16_SCALE else rng.randbytes(part)
                    for _ in range(k * n // elements) for part in parts)
    return (k, n), number, data


def write(path, entries, tensors):
    """tensors: (name, dims, ggml's number, data) of each. Returns the number of header bytes."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries)
    data = b""
    for name, dims, number, raw in tensors:
        header += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, len(data))
        data += raw + bytes(-len(raw) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % ALIGNMENT) + data)
    return len(header)
