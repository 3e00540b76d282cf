#!/usr/bin/env python3
"""Measures the time from the start of the process to the first token on its output.

    bench/first_token.py MODEL [--runs 20] [--budgets 32M]

Each run is `doppler run MODEL -n 1` with a prompt of a few words, without a budget and with each of
--budgets: with everything in the page cache, and after the cache was emptied, so that program,
libraries and model come from the disk. The two take turns. Needs root to empty the cache. Prints a table in
Markdown, in milliseconds.
"""

import argparse
import os
import statistics
import subprocess
import time

from measuring import drop_page_cache


def first_token(options, budget):
    command = [options.doppler, "run", options.model, "-p", options.prompt, "-n", "1",
               "--temperature", "0"]
    if budget:
        command += ["--host-memory", budget]
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        found = os.read(process.stdout.fileno(), 1)
        seconds = time.monotonic() - start
        process.stdout.read()
    if process.returncode != 0 or not found:
        raise SystemExit(f"failed with status {process.returncode}: {' '.join(command)}")
    return 1000 * seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an artifact's folder")
    parser.add_argument("--doppler", default="build/release/src/apps/doppler")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--budgets", default="32M", help="values of --host-memory, with commas")
    options = parser.parse_args()
    print("| budget | page cache | median | least | most |\n|---|---|---|---|---|")
    for budget in [None, *options.budgets.split(",")]:
        times = {"warm": [], "cold": []}
        for _ in range(options.runs):
            drop_page_cache()
            times["cold"].append(first_token(options, budget))
            times["warm"].append(first_token(options, budget))
        for name, all_times in times.items():
            print(f"| {budget or 'automatic'} | {name} | {statistics.median(all_times):.0f} "
                  f"| {min(all_times):.0f} | {max(all_times):.0f} |")


if __name__ == "__main__":
    main()
