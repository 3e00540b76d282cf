#!/usr/bin/env python3
"""Times every kernel of the list (src/backend/kernel_list.h) and prints tables in Markdown.

    bench/kernels.py [--bench build/release/src/backend/backend_bench] [--path avx2] [--threads 1]

Products with weights come by path and type, with rows in order or in groups of sixteen: GB/s of
weights for one token beside the rate of reading memory, and GFLOP/s for 64 tokens beside the path's
rate of products of int8, both measured in the same run. The other kernels
follow with their time for one call. Of several repetitions the fastest counts. Needs no root; a machine
that does nothing else.
"""

import argparse
import json
import os
import re
import subprocess


def measure(options):
    command = [options.bench, f"--benchmark_filter=({options.filter}).*threads:{options.threads}/",
               f"--benchmark_repetitions={options.repetitions}",
               f"--benchmark_min_time={options.seconds}", "--benchmark_format=json"]
    # The engine has its weights in huge pages, which read faster.
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment,
                            stderr=subprocess.DEVNULL).stdout
    best = {}
    for run in json.loads(output)["benchmarks"]:
        if run["run_type"] != "iteration":
            continue
        name = re.sub(r"/threads:\d+/real_time$", "", run["name"])
        if name not in best or run["real_time"] < best[name]["real_time"]:
            best[name] = run
    return best


def rate(run, field):
    return run.get(field, 0) / 1e9


def fraction(value, of):
    return f"{value:.1f} ({value / of:.0%})" if of else f"{value:.1f}"


def print_products(best, path):
    memory = rate(best["ReadMemory"], "bytes_per_second")
    int8 = rate(best[f"MultiplyInt8/{path}"], "FLOP")
    print(f"\n{path}: reading memory {memory:.1f} GB/s, products of int8 {int8:.0f} GFLOP/s\n")
    print("| | 1 token, GB/s | GFLOP/s | 64 tokens, GFLOP/s |\n|---|---|---|---|")
    for name, one in best.items():
        match = re.fullmatch(rf"(MatMul(OfGroups)?/{path}/(\w+))/tokens:1", name)
        if match:
            many = rate(best[f"{match[1]}/tokens:64"], "FLOP")
            layout = ", groups" if match[2] else ""
            print(f"| {match[3]}{layout} | {fraction(rate(one, 'bytes_per_second'), memory)} "
                  f"| {rate(one, 'FLOP'):.1f} | {fraction(many, int8)} |")


def print_others(best, path):
    print(f"\n{path}, microseconds for a call\n\n| | |\n|---|---|")
    for name, run in best.items():
        parts = name.split("/")
        if len(parts) > 2 and parts[1] == path and parts[0] not in ("MatMul", "MatMulOfGroups"):
            print(f"| {' '.join(parts[:1] + parts[2:])} | {run['real_time']:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/release/src/backend/backend_bench")
    parser.add_argument("--path", help="one path instead of all")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.03, help="of each repetition, at least")
    parser.add_argument("--all", action="store_true", help="the kernels other than MatMul too")
    options = parser.parse_args()
    of_path = f"/{options.path}[/$]" if options.path else "/"
    kernels = "[A-Z][A-Za-z]*" if options.all else "MatMul(OfGroups)?"
    options.filter = f"ReadMemory|MultiplyInt8/|^{kernels}{of_path}"
    best = measure(options)
    paths = [name.split("/")[1] for name in best if name.startswith("MultiplyInt8/")]
    for path in paths:
        if options.path in (None, path):
            print_products(best, path)
            if options.all:
                print_others(best, path)


if __name__ == "__main__":
    main()
