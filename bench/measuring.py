"""What the benchmark scripts share: control groups, the page cache, the disk's rate, our own bench."""

import json
import os
import subprocess
from pathlib import Path

GROUP = "doppler-compare"
SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text):
    return int(float(text[:-1]) * SIZES[text[-1]]) if text[-1] in SIZES else int(text)


class ControlGroup:
    """A control group, of version 1 or 2, that limits memory, reads from a disk, or both."""

    def __init__(self):
        self.version = 1 if Path("/sys/fs/cgroup/memory").is_dir() else 2
        controllers = ["memory", "blkio"] if self.version == 1 else [""]
        self.paths = [Path("/sys/fs/cgroup") / name / GROUP for name in controllers]
        for path in self.paths:
            path.mkdir(exist_ok=True)

    def limit_memory(self, size):
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        (self.paths[0] / name).write_text(str(size))

    def limit_reads(self, file, rate):
        """At most `rate` bytes per second from the disk that holds the file."""
        if self.version == 1:
            (self.paths[1] / "blkio.throttle.read_bps_device").write_text(f"{disk_of(file)} {rate}")
        else:
            (self.paths[0] / "io.max").write_text(f"{disk_of(file)} rbps={rate}")

    def enter(self):
        for path in self.paths:
            (path / "cgroup.procs").write_text("0")

    def peak(self):
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        return int((self.paths[0] / name).read_text())

    def close(self):
        for path in self.paths:
            path.rmdir()


def disk_of(file):
    device = os.stat(file).st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def run_in_group(command, memory=None, disk=None):
    """Runs a command under limits; its standard output and the group's peak of memory.

    `memory` is in bytes; `disk` is a file on the disk and the bytes per second to read from it.
    """
    group = ControlGroup()
    try:
        if memory is not None:
            group.limit_memory(memory)
        if disk is not None:
            group.limit_reads(*disk)
        drop_page_cache()
        done = subprocess.run(command, preexec_fn=group.enter, capture_output=True, text=True)
        peak = group.peak()
    finally:
        group.close()
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(f"status {done.returncode}: {lines[-1] if lines else 'no message'}")
    return done.stdout, peak


def drop_page_cache():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def disk_rate(file, limit=None):
    """Bytes per second of random reads of 512 KiB, 16 at once, past the page cache."""
    output, _ = run_in_group(
        ["fio", "--name=rate", f"--filename={file}", "--rw=randread", "--bs=512k", "--iodepth=16",
         "--ioengine=io_uring", "--direct=1", "--runtime=4", "--time_based", "--readonly",
         "--output-format=json"], disk=None if limit is None else (file, limit))
    return json.loads(output)["jobs"][0]["read"]["bw_bytes"]


def context_flags(options, budget):
    """Flags of `doppler` for a context and a ubatch that just hold a measurement, in a budget."""
    return ["--json", "--host-memory", str(budget), "--threads", str(options.threads),
            "--context", str(options.prefill + options.decode), "--ubatch", str(options.prefill)]


def bench_command(options, budget, repetitions):
    """`doppler bench` of options.prefill and options.decode tokens in that context."""
    return [options.doppler, "bench", options.artifact, *context_flags(options, budget),
            "--repetitions", str(repetitions),
            "--prefill", str(options.prefill), "--decode", str(options.decode)]
