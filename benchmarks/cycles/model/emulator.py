"""Runs a program on the emulated Sapphire Rapids and counts its regions."""
import pathlib
import subprocess
import tempfile

from .program import read_counts

RUN = pathlib.Path(__file__).resolve().parents[3] / "tests" / "emulator" / "run"


def count(command, cpu="spr"):
    """({label: {address: Count}}, standard output) of a static program that marks regions with tests/emulator/count.hpp."""
    with tempfile.TemporaryDirectory() as folder:
        counts = pathlib.Path(folder) / "counts"
        run = subprocess.run([RUN, "--cpu", cpu, "--counts", counts, "--count-addresses", *command], capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{command[0]}: exit code {run.returncode}\n{run.stdout}{run.stderr}")
        return read_counts(counts), run.stdout
