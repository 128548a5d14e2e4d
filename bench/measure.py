"""What a proxy costs: CPU time, system calls and memory of a process and its children, from /proc."""

import contextlib
import os
import re
import shutil
import subprocess
import time


def family(pid):
    """The process and all its descendants."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = [int(text) for text in file.read().split()]
    return [pid] + [p for child in children for p in family(child)]


def cpu_seconds(*pids):
    """User and system time so far, of all. The scheduler's own account, in nanoseconds; the ticks of
    /proc/PID/stat would be too coarse for a window of half a second."""
    total = 0
    for member in (member for pid in pids for member in family(pid)):
        for task in os.listdir(f"/proc/{member}/task"):
            # A thread may end in between: its time is lost, and none here ends under load.
            with contextlib.suppress(FileNotFoundError):
                with open(f"/proc/{member}/task/{task}/schedstat") as file:
                    total += int(file.read().split()[0])
    return total / 1e9


def user_and_system(*pids):
    """User and system time in clock ticks: coarse, good for the share of the two over many rounds."""
    user = system = 0
    for member in (member for pid in pids for member in family(pid)):
        with open(f"/proc/{member}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user, system


def memory_kib(pid):
    """Proportional set size: pages that are shared are counted by their share."""
    total = 0
    for member in family(pid):
        with open(f"/proc/{member}/smaps_rollup") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total


def can_trace():
    """perf counts system calls without slowing the process down, where it may."""
    if not shutil.which("perf"):
        return False
    probe = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def count_syscalls(pid, work, use_perf):
    """Calls `work()` and returns (its result, system calls of the process meanwhile)."""
    pids = ",".join(str(member) for member in family(pid))
    if use_perf:
        command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids]
    else:
        command = ["strace", "-f", "-c", "-U", "calls,name", "-p", pids]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)  # neither says when it has attached; what this misses is idle time
    result = work()
    tracer.send_signal(2)
    text = tracer.communicate(timeout=30)[1]
    if use_perf:
        return result, int(re.search(r"^(\d+),", text, re.M).group(1))
    return result, sum(int(n) for n in re.findall(r"^\s*(\d+)\s+(?!total)\w+$", text, re.M))
