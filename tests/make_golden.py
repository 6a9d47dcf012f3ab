#!/usr/bin/env python3
"""Makes tests/data/golden/<type>.bin: blocks of random and of extreme bytes, and the values that the gguf package's numpy
dequantizer gives for them, or for a type of tegula's own its definition in numpy. tests/kernels/golden.cpp holds tegula's decoders
against these files.

A file is: u32 number of weights | u32 number of block bytes | the blocks | the values, f32.

Needs: pip install gguf (made with 0.19.0).
"""
import argparse
import pathlib
import struct
import sys

# ggml's name of each type (none: tegula's own), its block in weights and bytes, and where f16 scales stand in a block.
TYPES = {
    "f32": ("F32", 1, 4, []),
    "f16": ("F16", 1, 2, []),
    "bf16": ("BF16", 1, 2, []),
    "q4_0": ("Q4_0", 32, 18, [0]),
    "q4_1": ("Q4_1", 32, 20, [0, 2]),
    "q8_0": ("Q8_0", 32, 34, [0]),
    "q4_k": ("Q4_K", 256, 144, [0, 2]),
    "q5_k": ("Q5_K", 256, 176, [0, 2]),
    "q6_k": ("Q6_K", 256, 210, [208]),
    "q8_256": (None, 256, 260, []),
}
# zero, least and largest subnormal, least normal, one, largest, infinity, NaNs; each with both signs
EXTREME_HALVES = [h | s for h in (0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7C01, 0x7E00) for s in (0, 0x8000)]
EXTREME_FLOATS = [f | s for s in (0, 0x80000000) for f in (0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000)]
FILL = (0x00, 0xFF, 0x80, 0x7F, 0x55, 0xAA)


def blocks_of(name, random):
    """All test blocks of a type, as an array [blocks, bytes]."""
    import numpy as np

    _, weights, size, halves_at = TYPES[name]
    if weights == 1:
        return float_blocks(size, random)
    if name == "q8_256":
        return q8_256_blocks(random)
    blocks = random.integers(0, 256, (len(EXTREME_HALVES) + 8 * (32 if weights == 32 else 1), size), dtype=np.uint8)
    filled = np.repeat(np.array(FILL, dtype=np.uint8), size).reshape(len(FILL), size)
    for i, half in enumerate(EXTREME_HALVES):  # each extreme in each scale, with a random other scale
        at = halves_at[i % len(halves_at)]
        for place in halves_at:
            blocks[i, place : place + 2] = np.frombuffer(struct.pack("<H", int(random.integers(0x1000, 0x5000))), dtype=np.uint8)
        blocks[i, at : at + 2] = np.frombuffer(struct.pack("<H", half), dtype=np.uint8)
    return np.concatenate([blocks, filled])


def float_blocks(size, random):
    import numpy as np

    if size == 2:  # every 13th of all 65,536, and the extremes
        values = np.concatenate([np.arange(0, 65536, 13), np.array(EXTREME_HALVES)]).astype("<u2")
        return values.view(np.uint8).reshape(-1, 2)
    values = np.concatenate([random.integers(0, 2**32, 1000), EXTREME_FLOATS])
    return values.astype("<u4").view(np.uint8).reshape(-1, 4)


def q8_256_blocks(random):
    """d f32 | 256 signed bytes; in the first block all bytes there are."""
    import numpy as np

    scales = np.concatenate([random.integers(0, 2**32, 8), EXTREME_FLOATS]).astype("<u4").view(np.uint8).reshape(-1, 4)
    quants = random.integers(0, 256, (len(scales), 256), dtype=np.uint8)
    quants[0] = np.arange(256)
    return np.concatenate([scales, quants], axis=1)


def values_of(name, blocks):
    import gguf.quants
    import numpy as np

    if name == "q8_256":
        return blocks[:, :4].copy().view("<f4") * blocks[:, 4:].view(np.int8).astype("<f4")
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[TYPES[name][0]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).parent / "data" / "golden"
    parser.add_argument("--out", type=pathlib.Path, default=default, help="folder to write to (default: %(default)s)")
    parser.add_argument("types", nargs="*", metavar="TYPE", help=f"types to make (default: all of {' '.join(TYPES)})")
    options = parser.parse_args()
    unknown = [t for t in options.types if t not in TYPES]
    if unknown:
        parser.error(f"unknown type {unknown[0]}; known: {' '.join(TYPES)}")
    try:
        import gguf.quants
        import numpy as np
    except ImportError as error:
        sys.exit(f"make_golden: {error}: pip install gguf")

    np.seterr(all="ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.types or TYPES:
        weights = TYPES[name][1]
        blocks = blocks_of(name, np.random.Generator(np.random.PCG64(list(TYPES).index(name))))
        values = values_of(name, blocks).astype("<f4").ravel()
        assert len(values) == len(blocks) * weights
        data = blocks.tobytes()
        path = options.out / f"{name}.bin"
        path.write_bytes(struct.pack("<II", len(values), len(data)) + data + values.tobytes())
        print(f"{path}: {len(values)} weights, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
