"""Which kernels the cycle model follows, how they are built, and what it says of each."""
import collections
import fcntl
import hashlib
import pathlib
import re
import shutil
import subprocess

from model import emulator
from model.bounds import bounds
from model.llvm_mca import Missing
from model.loops import tile_loop
from model.pipeline import schedule
from model.program import disassemble, executed
from model.uops import Table

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
BUILD = HERE.parents[1] / "build" / "cycles"
COMPILER, FLAGS = "clang++-19", ["-std=c++20", "-O2", "-static"]  # the same everywhere: another compiler has other bounds

FLOATS = ("f32", "f16", "bf16")
# MAC/cycle of the widest product: tdpbssd, vpdpbusd on two ports, its ymm form too, vpmaddubsw on two; float weights in exact mode: f32 FMA
PEAK = {"amx": 1024, "avx512": 128, "avx_vnni": 64, "avx2": 64}
FLOAT_PEAK = {"avx512": 32, "avx2": 16}

# By mode: ISA, M, and N where it is not 512; f32 FMAs are slow to emulate.
RECORDED = {
    "exact": [("amx", 512), ("amx", 128), ("avx512", 512), ("avx512", 1), ("avx_vnni", 512), ("avx_vnni", 1), ("avx2", 512), ("avx2", 1)],
    "bf16": [("amx", 512), ("amx", 128)],
    "requantized": [("amx", 512), ("amx", 128), ("avx512", 512), ("avx_vnni", 512), ("avx2", 512)],
}
RECORDED_FLOATS = {
    "exact": [("avx512", 512, 64), ("avx512", 1, 64), ("avx2", 512, 64), ("avx2", 1, 64)],
    "bf16": [("amx", 512), ("amx", 128)],
}
# Sparse matrices, half of whose weights are zeros: of these types, in this mode.
RECORDED_SPARSE = {
    "bf16": ("bf16", [("amx", 128), ("amx", 32), ("amx", 1)]),
    "q8_256": ("exact", [("amx", 128), ("amx", 32), ("amx", 1)]),
    "q4_0": ("exact", [("amx", 128)]),
}
MODES = tuple(RECORDED)

# type: as the library names it, or "bf16 sparse"
Kernel = collections.namedtuple("Kernel", "type mode isa m n k", defaults=(512, 2048))
# cycles: {"perfect", "serial", "phases", "product"}; busy: TMUL in the tile loop, percent, or None; ran: what last_kernel() said
Result = collections.namedtuple("Result", "cycles resources busy ran unknown")


def name(kernel):
    return f"{kernel.type} {kernel.mode} {kernel.isa} {kernel.m}x{kernel.n}x{kernel.k}"


def parse(text):
    """The kernel of a name()."""
    weights, mode, isa, shape = text.rsplit(" ", 3)
    return Kernel(weights, mode, isa, *map(int, shape.split("x")))


def macs(kernel):
    return kernel.m * kernel.n * kernel.k


def peak(kernel):
    return FLOAT_PEAK[kernel.isa] if kernel.type in FLOATS and kernel.mode == "exact" else PEAK[kernel.isa]


def types():
    """Names of all formats, as the library lists them."""
    text = (INCLUDE / "tegula" / "formats" / "all.hpp").read_text()
    return re.findall(r"\w+", re.sub(r"//.*", "", re.search(r"all_formats = format_list<([^>]*)>", text)[1]))


def bytes_per_weight(weights):
    """As a GGUF file has them, scales included; of quantized types."""
    text = (INCLUDE / "tegula" / "formats" / f"{weights}.hpp").read_text()
    return int(re.search(r"block_bytes = (\d+)", text)[1]) / int(re.search(r"block_k = (\d+)", text)[1])


def recorded():
    """The kernels whose bounds are recorded."""
    dense = [Kernel(weights, mode, *shape) for weights in types()
             for mode, shapes in (RECORDED_FLOATS if weights in FLOATS else RECORDED).items() for shape in shapes]
    return dense + [Kernel(f"{weights} sparse", mode, *shape) for weights, (mode, shapes) in RECORDED_SPARSE.items() for shape in shapes]


def build(weights):
    """The program with a type's kernels, dense and sparse; kept for as long as the preprocessed source stays the same."""
    weights = weights.split(" ")[0]
    if not shutil.which(COMPILER):
        raise Missing(f"{COMPILER} is not installed: apt-get install clang-19")
    command = [COMPILER, *FLAGS, f"-DTYPE={weights}", "-I", INCLUDE, HERE / "gemm.cpp"]
    source = subprocess.run([*command, "-E"], check=True, capture_output=True).stdout
    program = BUILD / f"{weights}.{hashlib.sha256(source).hexdigest()[:16]}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"lock.{weights}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not program.exists():
            for old in BUILD.glob(f"{weights}.*"):
                old.unlink()
            subprocess.run([*command, "-o", program.with_suffix(".new")], check=True)
            program.with_suffix(".new").rename(program)
    return program


def count(weights, kernels):
    """(program, [(quantizing A, product, what ran)]): what each kernel of one type executes, by one run of the emulator."""
    elf = build(weights)
    regions, output = emulator.count([elf, *(case(k) for k in kernels)])
    return disassemble(elf), [(regions[f"{i}.a"], regions[f"{i}.c"], ran) for i, ran in enumerate(output.splitlines())]


def case(kernel):
    """A kernel as an argument of gemm.cpp."""
    return f"{kernel.mode}:{kernel.isa}:{kernel.m}:{kernel.n}:{kernel.k}" + (":sparse" if kernel.type.endswith(" sparse") else "")


def expansion(weights, mode):
    """What expanding 16 rows of 64 bytes of a sparse panel takes on AMX, apart from all else, in cycles; values and masks are in L1."""
    program, [(_, product, _)] = count(f"{weights} sparse", [Kernel(f"{weights} sparse", mode, "amx", 16)])
    alone = [e for e in executed(product, program) if re.search("expand_units|unpack_unit.*sparse", e.function)]
    return 16 * bounds(alone, Table()).perfect / sum(e.times for e in alone if e.text.startswith("vpexpand"))


def measure(weights, kernels):
    """{kernel: Result} of kernels of one type."""
    program, counted = count(weights, kernels)
    table = Table()
    return {kernel: _result(*regions, program, table) for kernel, regions in zip(kernels, counted)}


def _result(quantizing, product, ran, program, table):
    first, second = executed(quantizing, program), executed(product, program)
    unpacking = [e for e in second if "unpack" in e.function]
    multiplying = [e for e in second if "unpack" not in e.function]
    whole = bounds(first + second, table)
    cycles = {
        "perfect": whole.perfect,
        "serial": whole.serial,
        # code that runs one after another: the sum of each part's bound
        "phases": sum(bounds(phase, table).perfect for phase in (first, unpacking, multiplying)),
        "product": bounds(second, table).perfect,
    }
    loop = tile_loop(product, program)
    busy = round(schedule(loop, program, table).busy, 1) if loop else None
    return Result(_rounded(cycles), _rounded(whole.resources), busy, ran, whole.unknown)


def _rounded(cycles):
    return {what: round(n) for what, n in cycles.items()}
