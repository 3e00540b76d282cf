#!/usr/bin/env python3
"""Runs models of the real shapes that Doppler is for, one after the other, in budgets below their size.

    bench/targets.py --work FOLDER [--only mixtral-8x7b]

Each is made by doppler_synth with random weights, run by `doppler bench` in a memory control group of
each budget's size, and deleted. Expert files of models that exceed the disk share content by hard
links; every read is still one of the real size. Needs root, python3, fio and up to 45 GB in FOLDER.
Prints a table in Markdown, and with --json FILE writes every run.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from measuring import disk_rate, parse_size, run_in_group

# Configuration, format, distinct expert files of each kind (0: all), budgets, tokens of decode.
TARGETS = [
    ("phi-mini-moe", "q4_k_m", 0, ["2G", "4G"], 32),
    ("llama-3.1-8b", "q4_k_m", 0, ["3G", "6G"], 8),
    ("llama-3.1-8b", "bf16", 0, ["6G"], 3),
    ("gpt-oss-20b", "mxfp4", 0, ["4G", "8G"], 32),
    ("mixtral-8x7b", "q4_k_m", 0, ["8G", "16G"], 16),
    ("llama-3.1-70b", "q4_k_m", 0, ["12G"], 2),
    ("gpt-oss-120b", "mxfp4", 48, ["8G", "16G"], 16),
    ("qwen3-235b-a22b", "q4_k_m", 48, ["8G", "16G"], 8),
    ("kimi-k2", "q4_k_m", 48, ["16G"], 8),
]


def make(options, config, quant, distinct):
    folder = Path(options.work) / f"{config}-{quant}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([options.synth, f"{options.configs}/{config}/config.json", str(folder),
                    "--quant", quant, "--distinct-experts", str(distinct)],
                   check=True, stdout=subprocess.DEVNULL)
    return folder


def largest_file(folder):
    return str(max((file for file in folder.rglob("*") if file.is_file()),
                   key=lambda file: file.stat().st_size))


def apparent_size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure(options, folder, budget, decode):
    rate = disk_rate(largest_file(folder))
    output, peak = run_in_group(
        [options.doppler, "bench", str(folder), "--json", "--repetitions", "1",
         "--host-memory", str(budget), "--context", str(options.prefill + decode),
         "--ubatch", str(options.prefill), "--prefill", str(options.prefill),
         "--decode", str(decode)], memory=budget)
    report = json.loads(output)
    phase = report["decode"]
    uses = phase["expert_hits"] + phase["expert_misses"]
    return {"budget": budget, "disk_rate": rate, "peak": peak, "tokens": phase["tokens"],
            "size": apparent_size(folder), "prefill": report["prefill"]["tokens_per_second"],
            "decode": phase["tokens_per_second"],
            "hit_rate": phase["expert_hits"] / uses if uses else None,
            "read": phase["expert_bytes_read"] + phase["streamed_bytes_read"],
            "page_in_p50": phase["page_in_p50_seconds"],
            "page_in_p99": phase["page_in_p99_seconds"]}


def milliseconds(seconds):
    return "-" if seconds is None else f"{1e3 * seconds:.0f} ms"


def row(name, run):
    hits = "-" if run["hit_rate"] is None else f"{100 * run['hit_rate']:.0f} %"
    return (f"| {name} | {run['size'] / 2**30:.1f} GiB | {run['budget'] / 2**30:g} GiB | "
            f"{run['disk_rate'] / 1e9:.2f} | {run['prefill']:.1f} | {run['decode']:.2f} | {hits} | "
            f"{run['read'] / run['tokens'] / 1e6:.0f} MB | {milliseconds(run['page_in_p50'])} | "
            f"{milliseconds(run['page_in_p99'])} | {run['peak'] / 2**20:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", required=True, help="a folder on the disk to be measured")
    parser.add_argument("--only", action="append", help="a configuration; may be repeated")
    parser.add_argument("--doppler", default="build/release/src/apps/doppler")
    parser.add_argument("--synth", default="build/release/tools/synth/doppler_synth")
    parser.add_argument("--configs", default="tests/data/configs")
    parser.add_argument("--prefill", type=int, default=32)
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()
    runs = []
    print("| model | size | budget | disk, GB/s | prefill, tokens/s | decode, tokens/s | hits | "
          "read per token | page-in p50 | p99 | peak |\n" + "|---" * 11 + "|", flush=True)
    for config, quant, distinct, budgets, decode in TARGETS:
        if options.only and config not in options.only:
            continue
        folder = make(options, config, quant, distinct)
        try:
            for budget in budgets:
                name = f"{config} {quant}"
                try:
                    runs.append({"model": name} | measure(options, folder, parse_size(budget), decode))
                    print(row(name, runs[-1]), flush=True)
                except RuntimeError as error:
                    print(f"{name} in {budget}: {error}", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(folder)
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
