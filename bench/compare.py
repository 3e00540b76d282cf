#!/usr/bin/env python3
"""Doppler beside other engines: the same weights, the same memory limit, runs in turns.

    bench/compare.py --artifact M --gguf M.gguf --budgets 4G,8G --peer ik=PATH/llama-bench

Every engine runs in a memory control group of the budget's size, page cache included, after the page
cache was dropped; the disk's rate is measured before each round. Peers are programs with the command
line of llama.cpp's llama-bench. Needs root, python3 and fio. Prints a table in Markdown, and with
--json FILE writes every run.

Both decode from an empty context, or with --after-prompt after the prompt that is measured too. Then
memory holds what a model of any size has room for, which few tokens of decode would not read.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from measuring import disk_of, disk_rate, parse_size, run_in_group


def set_read_ahead(file, kilobytes):
    """Sets how far the file's disk reads ahead of page faults; the value from before."""
    setting = Path(f"/sys/dev/block/{disk_of(file)}/bdi/read_ahead_kb")
    before = setting.read_text().strip()
    setting.write_text(str(kilobytes))
    return before


def run_doppler(options, size, prefill, decode, repetitions):
    # The median of some, so that it starts with what a repetition before it left, as a peer after
    # its warm-up does.
    output, peak = run_in_group(
        [options.doppler, "bench", options.artifact, "--json", "--repetitions", str(repetitions),
         "--host-memory", str(size), "--threads", str(options.threads),
         "--prefill", str(prefill), "--decode", str(decode)] + options.doppler_argument, memory=size)
    return json.loads(output), peak


def measure_doppler(options, size):
    if options.after_prompt:
        prompt, prompt_peak = run_doppler(options, size, options.prefill, options.decode, 5)
        report, peak = prompt, prompt_peak
    else:
        prompt, prompt_peak = run_doppler(options, size, options.prefill, 0, 5)
        report, peak = run_doppler(options, size, 1, options.decode, 5)
    decode = report["decode"]
    return {"prefill": prompt["prefill"]["tokens_per_second"],
            "decode": decode["tokens_per_second"], "peak": max(peak, prompt_peak),
            "hit_rate": decode["expert_hits"] / max(decode["expert_hits"] + decode["expert_misses"], 1)}


def measure_peer(program, options, size):
    prompt, decode = str(options.prefill), str(options.decode)
    tests = ["-p", prompt] + (["-n", "0", "-gp", f"{prompt},{decode}"] if options.after_prompt
                              else ["-n", decode])
    output, peak = run_in_group(
        [program, "-m", options.gguf, "-t", str(options.threads), "-r", "1", "-o", "json"] + tests +
        options.peer_argument, memory=size)
    speeds = {"peak": peak}
    for test in json.loads(output):
        speeds["decode" if test["n_gen"] else "prefill"] = test["avg_ts"]
    return speeds


def engines(options):
    found = {"doppler": lambda size: measure_doppler(options, size)}
    for peer in options.peer:
        name, _, program = peer.partition("=")
        found[name] = lambda size, program=program: measure_peer(program, options, size)
    return found


def measure_all(options):
    """One entry for each budget, round and engine, engines in turns."""
    runs = []
    for budget in options.budgets.split(","):
        for number in range(options.rounds):
            rate = disk_rate(options.gguf)
            for name, measure in engines(options).items():
                run = {"budget": budget, "round": number, "engine": name, "disk_rate": rate}
                try:
                    run.update(measure(parse_size(budget)))
                except RuntimeError as error:
                    run["problem"] = str(error)
                runs.append(run)
                print(json.dumps(run), file=sys.stderr, flush=True)
    return runs


def median(runs, budget, engine, field):
    values = [run[field] for run in runs
              if run["budget"] == budget and run["engine"] == engine and field in run]
    return statistics.median(values) if values else None


def cell(decode, prefill):
    return "-" if decode is None else f"{decode:.2f} · {prefill:.1f}"


def ratio(runs, budget, names, field):
    peers = [median(runs, budget, name, field) for name in names if name != "doppler"]
    best = max((value for value in peers if value), default=None)
    ours = median(runs, budget, "doppler", field)
    return "-" if not best or not ours else f"{ours / best:.2f}"


def print_table(runs, names):
    print("Decode · prefill, tokens/s, medians; the last column is Doppler over the best peer.\n")
    print("| budget | disk, GB/s | " + " | ".join(names) + " | decode · prefill |")
    print("|---|---|" + "---|" * (len(names) + 1))
    for budget in dict.fromkeys(run["budget"] for run in runs):
        rate = statistics.median(run["disk_rate"] for run in runs if run["budget"] == budget)
        cells = [cell(median(runs, budget, name, "decode"), median(runs, budget, name, "prefill"))
                 for name in names]
        print(f"| {budget} | {rate / 1e9:.2f} | " + " | ".join(cells) +
              f" | {ratio(runs, budget, names, 'decode')} · {ratio(runs, budget, names, 'prefill')} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--artifact", required=True, help="Doppler's form of the weights")
    parser.add_argument("--gguf", required=True, help="the peers' form of the same weights")
    parser.add_argument("--doppler", default="build/release/src/apps/doppler")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PROGRAM",
                        help="a program with llama-bench's command line; may be repeated")
    parser.add_argument("--peer-argument", action="append", default=[],
                        help="passed to every peer; may be repeated")
    parser.add_argument("--doppler-argument", action="append", default=[],
                        help="passed to doppler bench, as --cpu-path=avx2; may be repeated")
    parser.add_argument("--after-prompt", action="store_true",
                        help="decode after the prompt; peers need llama-bench's -gp")
    parser.add_argument("--budgets", default="4G,6G,8G,12G")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--read-ahead", type=int, metavar="KIB",
                        help="of the disk while this runs; 128 suits engines that map the file")
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()
    before = set_read_ahead(options.gguf, options.read_ahead) if options.read_ahead else None
    try:
        runs = measure_all(options)
    finally:
        if before is not None:
            set_read_ahead(options.gguf, before)
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))
    print_table(runs, list(engines(options)))


if __name__ == "__main__":
    main()
