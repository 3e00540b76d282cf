#!/usr/bin/env python3
"""What the pager costs a model that fits.

    bench/fits.py --artifact M --rounds 5

Runs alternate between the least budget in which every expert has a slot and one of half as much again, in
which nothing is ever short. Their ratio says what a full pool costs. The pager's share of a phase is the time
in which it found slots, waited for reads and guessed: a program that had all weights in memory and no
pager would be faster by that much and not more. Needs python3 and memory for the larger budget. Prints a
table in Markdown, and with --json FILE writes every run.
"""

import argparse
import json
import subprocess
from pathlib import Path
from statistics import median

from measuring import bench_command, context_flags

MARGIN = 8 << 20  # what the program's own size differs by from one process to the next
PHASES = ("decode", "prefill")


def json_of(command):
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def least_budget(options):
    """The plan of a budget that is surely enough says what is needed, but for a 256th that it leaves free."""
    artifact = sum(file.stat().st_size for file in Path(options.artifact).rglob("*.bin"))
    plan = json_of([options.doppler, "plan", options.artifact,
                    *context_flags(options, 2 * artifact + (1 << 30))])["plan"]
    return int(plan["total_bytes"] * (1 + 1 / 256)) + MARGIN


def bench(options, budget):
    report = json_of(bench_command(options, budget, options.repetitions))
    plan = report["plan"]
    if plan["expert_slots"] != plan["experts"] or plan["streamed_layers"] != 0:
        raise SystemExit(f"not all of the model fits in {budget} bytes: {plan}")
    return report


def pager_share(phase):
    guessing = phase.get("speculation", {}).get("predict_seconds", 0)
    return (phase["cache_seconds"] + phase["stall_seconds"] + guessing) / phase["seconds_median"]


def print_table(runs, budgets):
    names = {name: f"{budget / 2**30:.2f} GiB" for name, budget in budgets.items()}
    print(f"| phase | {names['least']}, s | {names['ample']}, s | ratio | least to greatest of a round |"
          " pager's share |")
    print("|---" * 6 + "|")
    for phase in PHASES:
        seconds = {name: [run[phase]["seconds_median"] for run in runs[name]] for name in budgets}
        ratios = [least / ample for least, ample in zip(seconds["least"], seconds["ample"])]
        share = median(pager_share(run[phase]) for run in runs["least"])
        print(f"| {phase} | {median(seconds['least']):.3f} | {median(seconds['ample']):.3f} | "
              f"**{median(seconds['least']) / median(seconds['ample']):.3f}** | "
              f"{min(ratios):.3f} to {max(ratios):.3f} | {100 * share:.2f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--doppler", default="build/release/src/apps/doppler")
    parser.add_argument("--rounds", type=int, default=5, help="each is a run in both budgets")
    parser.add_argument("--repetitions", type=int, default=5, help="of which the median counts")
    parser.add_argument("--prefill", type=int, default=256)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()
    least = least_budget(options)
    budgets = {"least": least, "ample": least * 3 // 2}
    runs = {name: [] for name in budgets}
    for round_number in range(options.rounds):
        # Whoever goes first changes, so that what drifts with time touches both.
        order = list(budgets) if round_number % 2 == 0 else list(reversed(budgets))
        for name in order:
            runs[name].append(bench(options, budgets[name]))
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=1))
    print_table(runs, budgets)


if __name__ == "__main__":
    main()
