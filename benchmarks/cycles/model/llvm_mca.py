"""What LLVM's sapphirerapids model says of instructions, by llvm-mca."""
import collections
import json
import re
import shutil
import subprocess

# usage: {port: cycles}, averaged by llvm-mca over the ports that a uop can take
Answer = collections.namedtuple("Answer", "uops latency loads stores usage")


class Missing(Exception):
    """No llvm-mca that knows the machine is installed."""


def find():
    """The llvm-mca to ask: version 19, since another would give other numbers."""
    tool = shutil.which("llvm-mca-19")
    if not tool:
        raise Missing("llvm-mca-19 is not installed: apt-get install llvm-19")
    return tool


def ask(tool, texts):
    """{text: Answer, or None if LLVM does not know it}. Each text is a code region of its own, so that none spoils another."""
    texts = sorted(set(texts))
    source = "".join(f"# LLVM-MCA-BEGIN r{i}\n{text}\n# LLVM-MCA-END r{i}\n" for i, text in enumerate(texts))
    options = ["-mcpu=sapphirerapids", "-iterations=1", "-instruction-tables", "-json", "-skip-unsupported-instructions=any"]
    output = subprocess.run([tool, *options], input=source, capture_output=True, text=True).stdout
    answers = dict.fromkeys(texts)
    report = json.loads(output)
    ports = {i: int(m[1]) for i, name in enumerate(report["TargetInfo"]["Resources"]) if (m := re.search(r"Port(\d+)", name))}
    for region in report["CodeRegions"]:
        instructions = region["InstructionInfoView"]["InstructionList"]
        if len(instructions) == 1:
            text = texts[int(region["Name"][1:])]
            answers[text] = _answer(instructions[0], region["ResourcePressureView"]["ResourcePressureInfo"], ports)
    return answers


def _answer(info, pressure, ports):
    usage = {ports[p["ResourceIndex"]]: p["ResourceUsage"] for p in pressure if p["InstructionIndex"] == 0 and p["ResourceIndex"] in ports}
    return Answer(info["NumMicroOpcodes"], info["Latency"], info["mayLoad"], info["mayStore"], usage)
