"""A wall clock that is wrong, and jumps while processes run, for whole processes of any kind.

A library for LD_PRELOAD, compiled here: by so many seconds as a file says at this moment, it shifts
what the C library tells of the time of day. Other clocks stay as they are, as on real machines.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMPILER = shutil.which("cc")

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift_s(void) {
    char text[32] = {0};
    int file = open(getenv("CLOCK_SHIFT_FILE") ? getenv("CLOCK_SHIFT_FILE") : "", O_RDONLY);
    if (file < 0) return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    return size > 0 ? strtol(text, 0, 10) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift_s();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
"""


@dataclass(frozen=True)
class ShiftedClock:
    """Of all processes that run with its environment."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the processes; without it a clock is right."""
        library, file = self.directory / "shift.so", self.directory / "seconds"
        return {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(file)}

    def jump_to(self, seconds: int) -> None:
        """Be ahead of the true time by so much, or behind it if that is negative."""
        partial = self.directory / "seconds.partial"
        partial.write_text(str(seconds))
        partial.replace(self.directory / "seconds")


def shifted_clock(directory: Path, seconds: int = 0) -> ShiftedClock:
    """Compile the library into a directory that its users can read."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    source = directory / "shift.c"
    source.write_text(_SOURCE)
    compiling = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(directory / "shift.so")]
    subprocess.run([*compiling, str(source)], check=True)
    clock = ShiftedClock(directory)
    clock.jump_to(seconds)
    return clock
