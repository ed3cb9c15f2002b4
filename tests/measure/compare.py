#!/usr/bin/env python3
"""Measures the broker against a minimal relay, interleaved, and prints medians and ratios.

    cargo build --release --workspace --bins
    tests/measure/compare.py [--floor DIR] [--before DIR] [--rounds 5] [--secs 0.5] [--bin target/release]

--before names a directory with the same programs of another state of the source. --floor names a directory with the programs relay_epoll, worker and load of a relay that speaks a fixed header over a Unix
socket and has no policy; without it the broker alone is measured. Within a round every contender runs once, in random
order. Absolute figures of a shared machine move; the ratios are what counts.
"""
import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_for(path):
    for _ in range(500):
        if os.path.exists(path):
            time.sleep(0.15)
            return
        time.sleep(0.01)
    raise SystemExit(f"{path} did not appear")


class Lifeboat:
    def __init__(self, programs, prefetch, pin, workers=2):
        self.bin, self.prefetch, self.pin, self.workers = programs, prefetch, pin, workers

    def __enter__(self):
        self.home = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.home.name, "b.sock")
        config = os.path.join(self.home.name, "c.toml")
        worker = os.path.abspath(os.path.join(self.bin, "bench_echo"))
        with open(config, "w") as file:
            file.write(f'''
[broker]
socket = "{self.socket}"
http = "127.0.0.1:0"
[pools.echo]
command = ["{worker}"]
workers = {self.workers}
restart = {{ initial = "1ms", max = "1ms" }}
prefetch = {self.prefetch}
queue = {{ max_requests = 4096 }}
[pools.echo.methods.echo]
attempt_timeout = "30s"
[pools.echo.methods.pid]
[pools.echo.methods.hang_once]
retry = {{ on = ["crash"], max_attempts = 3 }}
''')
        command = self.pin + [os.path.join(self.bin, "lifeboat"), "serve", "--config", config]
        self.log = open(os.path.join(self.home.name, "log"), "w+")
        self.process = subprocess.Popen(command, stderr=self.log)
        wait_for(self.socket)
        return self

    def load(self, *options):
        command = self.pin + [os.path.join(self.bin, "wire_load"), "--socket", self.socket, *map(str, options)]
        return json.loads(subprocess.check_output(command))

    def crash(self, times):
        line = self.load("--crash", times)
        return line, self.death_to_verdict()

    def death_to_verdict(self):
        self.log.flush()
        with open(self.log.name) as log:
            address = next(line for line in log if "serving" in line).split("http=")[1].split()[0].strip('"')
        import urllib.request
        text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
        rows = [line for line in text.splitlines() if line.startswith("lifeboat_death_to_verdict_seconds_")]
        sums = [float(row.rsplit(" ", 1)[1]) for row in rows if "_sum" in row]
        counts = [float(row.rsplit(" ", 1)[1]) for row in rows if "_count" in row]
        return sum(sums) / max(sum(counts), 1) * 1e6

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.log.close()
        self.home.cleanup()


class Floor:
    def __init__(self, args, window, each, pin):
        self.args, self.window, self.each, self.pin = args, window, each, pin

    def __enter__(self):
        self.home = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.home.name, "b.sock")
        program = lambda name: os.path.join(self.args.floor, name)
        command = self.pin + [program("relay_epoll"), "--listen", self.socket, "--worker", program("worker"), "--workers", "2"]
        if self.window:
            command += ["--window", str(self.window)]
        if self.each:
            command += ["--each"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self.socket)
        return self

    def load(self, *options):
        command = self.pin + [os.path.join(self.args.floor, "load"), "--unix", self.socket, *map(str, options)]
        return json.loads(subprocess.check_output(command))

    def crash(self, times):
        command = [os.path.join(self.args.floor, "load"), "--crash", "--unix", self.socket, "--reps", str(times)]
        lines = [json.loads(line) for line in subprocess.check_output(command).splitlines()]
        return {"p50_us": statistics.median(line["client_ms"] for line in lines) * 1e3}, None

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.home.cleanup()


def measure(contender, options):
    with contender as running:
        before = cpu_seconds(running.process.pid)
        line = running.load(*options)
        spent = cpu_seconds(running.process.pid) - before
        # The warm-up's share is taken off by time: load is even.
        measured = line["secs"] / (line["secs"] + 0.3)
        line["cpu_us"] = spent * measured / max(line["n"], 1) * 1e6
        return line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--before")
    parser.add_argument("--floor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=0.5)
    parser.add_argument("--crashes", type=int, default=40)
    args = parser.parse_args()
    pin = ["taskset", "-c", "0"]
    cases = {
        "one in flight, pinned": (pin, ["--window", "1"], {"lifeboat": 1, "floor win1 each": (1, True), "floor": (None, False)}),
        "64 in flight, prefetch 1": ([], ["--window", "64"], {"lifeboat": 1, "floor win1 each": (1, True)}),
        "64 in flight, prefetch 32": ([], ["--window", "64"], {"lifeboat": 32, "floor each": (None, True), "floor": (None, False)}),
        "8 clients x 8, 1 KiB, prefetch 32": ([], ["--clients", "8", "--window", "8", "--payload", "1024"], {"lifeboat": 32, "floor each": (None, True)}),
    }
    builds = {"lifeboat": args.bin}
    if args.before:
        builds["before"] = args.before
    timing = ["--secs", args.secs, "--warm", 0.3]
    for case, (pinning, options, contenders) in cases.items():
        contenders |= {name: contenders["lifeboat"] for name in builds}
        results = {name: [] for name in contenders}
        for _ in range(args.rounds):
            for name in random.sample(list(contenders), len(contenders)):
                setting = contenders[name]
                if name in builds:
                    contender = Lifeboat(builds[name], setting, pinning)
                elif args.floor:
                    contender = Floor(args, *setting, pinning)
                else:
                    continue
                results[name].append(measure(contender, options + timing))
        print(f"\n{case}")
        median = lambda name, key: statistics.median(line[key] for line in results[name])
        for name, lines in results.items():
            if not lines:
                continue
            # A window's waits are those of batches, which the two loads cut differently: only single ones compare.
            keys = ("rps", "p50_us", "p99_us", "cpu_us") if "1" in options[1:2] else ("rps", "cpu_us")
            row = "  ".join(
                f"{key} {median(name, key):>10.2f} (x{median('lifeboat', key) / median(name, key):.2f})" for key in keys
            )
            print(f"  {name:<16} {row}")
    print("\nx is lifeboat's figure divided by the row's, medians of all rounds")
    print("\nSIGKILL in the middle of a request")
    # Four workers, so that one that waits is always there.
    for name, programs in builds.items():
        with Lifeboat(programs, 1, [], workers=4) as running:
            line, verdict = running.crash(args.crashes)
        print(f"  {name}: retried answer p50 {line['p50_us']:.0f} us, p99 {line['p99_us']:.0f} us; death to verdict, mean {verdict:.0f} us")
    if args.floor:
        with Floor(args, 1, True, []) as running:
            line, _ = running.crash(10)
            print(f"  floor (error, no retry): p50 {line['p50_us']:.0f} us")


main()
