#!/usr/bin/env python3
"""Holds up whoever opens a file, as a disk that hangs does: `hold.py FILE`, until stdin ends, at most 45 s (a lease, fcntl(2))."""
import fcntl
import signal
import sys

signal.signal(signal.SIGIO, signal.SIG_IGN)
with open(sys.argv[1], "r+b") as file:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("held", flush=True)
    sys.stdin.read()
