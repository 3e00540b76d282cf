#!/usr/bin/env python3
"""How near decode and prefill come to what the disk and the processor allow.

    bench/bounds.py --artifact M --budgets 4G,8G,12G --resident 20G --disk-rate 1200M

The time of a token is at least that of reading what is missing, at the rate that fio reaches, and at
least that of computing with everything in memory, which --resident measures; a model that never fits
is held against the disk alone. Each budget runs in a memory control group of
its size, between two runs of fio with reads of the same size and number at once. --disk-rate holds
both to one rate: a disk whose rate changes from minute to minute tells nothing otherwise. Needs root,
python3 and fio. Prints a table in Markdown, and with --json FILE writes every run.
"""

import argparse
import json
import sys
from pathlib import Path

from measuring import bench_command, disk_rate, parse_size, run_in_group


def some_shard(artifact):
    """The largest file, which fio reads."""
    return max((file for file in Path(artifact).rglob("*") if file.is_file()),
               key=lambda file: file.stat().st_size)


def bench(options, budget, repetitions, limit):
    output, peak = run_in_group(bench_command(options, budget, repetitions), memory=budget,
                                disk=None if limit is None else (options.shard, limit))
    return json.loads(output), peak


def bound(phase, rate, compute_seconds):
    """A phase beside its bound: seconds of the run, of reading, of computing, and the ratio."""
    read = phase["expert_bytes_read"] + phase["streamed_bytes_read"]
    reading = read / rate
    return {"seconds": phase["seconds_median"], "reading": reading, "computing": compute_seconds,
            "read": read, "tokens": phase["tokens"],
            "ratio": phase["seconds_median"] / max(reading, compute_seconds)}


def measure(options, budget, limit, resident):
    before = disk_rate(options.shard, limit)
    report, peak = bench(options, budget, options.repetitions, limit)
    rate = (before + disk_rate(options.shard, limit)) / 2
    decode = report["decode"]
    run = {"budget": budget, "disk_rate": rate, "peak": peak,
           "hit_rate": decode["expert_hits"] / max(decode["expert_hits"] + decode["expert_misses"], 1),
           # Of the time in which reads were outstanding.
           "disk_share": decode["expert_bytes_read"] / max(decode["reading_seconds"], 1e-9) / rate,
           "page_in_p50": decode["page_in_p50_seconds"], "page_in_p99": decode["page_in_p99_seconds"]}
    for name in ("decode", "prefill"):
        run[name] = bound(report[name], rate, resident[name]["seconds_median"] if resident else 0)
    return run


def milliseconds(seconds):
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"


def phase_cells(phase, scale, digits):
    """Read in MB, then seconds of the run, of reading, of computing."""
    return " | ".join([f"{phase['read'] / scale / 1e6:.0f}", f"{phase['seconds'] / scale:.{digits}f}",
                       f"{phase['reading'] / scale:.{digits}f}",
                       f"{phase['computing'] / scale:.{digits}f}" if phase["computing"] else "-", f"**{phase['ratio']:.2f}**"])


def print_table(runs, prefill):
    print("Decode: MB and seconds per token. Prefill: MB and seconds of "
          f"{prefill} tokens. Ratio: run / max(read, compute). p50, p99: ms from miss to verified.\n")
    print("| budget | disk, GB/s | hits | decode, MB | s | read | compute | ratio | prefill, MB | s |"
          " read | compute | ratio | disk busy | p50 | p99 | peak, MiB |")
    print("|---" * 17 + "|")
    for run in runs:
        print(f"| {run['budget'] / 2**30:g} GiB | {run['disk_rate'] / 1e9:.2f} | "
              f"{100 * run['hit_rate']:.0f} % | {phase_cells(run['decode'], run['decode']['tokens'], 3)}"
              f" | {phase_cells(run['prefill'], 1, 1)} | {100 * run['disk_share']:.0f} % | "
              f"{milliseconds(run['page_in_p50'])} | {milliseconds(run['page_in_p99'])} | "
              f"{run['peak'] / 2**20:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--doppler", default="build/release/src/apps/doppler")
    parser.add_argument("--budgets", default="4G,6G,8G,12G")
    parser.add_argument("--resident", help="a budget in which everything is resident")
    parser.add_argument("--disk-rate", help="bytes per second to hold the disk to, as 1200M")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3, help="of which the median counts")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()
    options.shard = str(some_shard(options.artifact))
    limit = None if options.disk_rate is None else parse_size(options.disk_rate)
    resident = None
    if options.resident:
        resident, _ = bench(options, parse_size(options.resident), 3, None)
    runs = []
    for _ in range(options.rounds):
        for budget in options.budgets.split(","):
            runs.append(measure(options, parse_size(budget), limit, resident))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))
    print_table(runs, options.prefill)


if __name__ == "__main__":
    main()
