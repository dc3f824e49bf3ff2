"""Keeps a log from filling the disk: its beginning is dropped in place, while others append to it.

What is dropped becomes a hole. Every byte that is kept keeps its offset, so that neither whoever
appends nor whoever follows the log by offsets has to know; nothing is remembered between calls, and
a log that grew while no agent lived is cut by the next one. All functions block.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE of linux/falloc.h; `os` has no such call."""
_BLOCK_BYTES = 4096
"""Holes are made of whole blocks; this is the largest of the usual file systems."""
_STAT_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system's own (inode(7))."""
_SCAN_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def limit_log(path: Path, limit_bytes: int) -> bool:
    """Free all but the last half of `limit_bytes` once the log takes more than that on the disk.

    True if it did. Whoever appends has to do so with O_APPEND.

    Raises:
        OSError: the file system refuses.
    """
    try:
        if _size_on_disk(path.stat()) <= limit_bytes:
            return False
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        end = (size - limit_bytes // 2) // _BLOCK_BYTES * _BLOCK_BYTES
        _drop(descriptor, end, size)
        words = f"\n[the first {end:,} bytes of this log were dropped to spare the disk]\n"
        notice = words.encode()
        os.pwrite(descriptor, notice, end - len(notice))
    finally:
        os.close(descriptor)
    return True


def skip_dropped(descriptor: int, offset: int, size: int) -> int:
    """Where the next byte stands that was not dropped, from `offset` on; at most `size`."""
    try:
        offset = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size
    # The hole ends at a block, and not every file system tells of holes: the rest is zeros.
    while chunk := os.pread(descriptor, min(_SCAN_BYTES, size - offset), offset):
        kept = chunk.lstrip(b"\0")
        offset += len(chunk) - len(kept)
        if kept:
            break
    return min(offset, size)


def _size_on_disk(status: os.stat_result) -> int:
    # A file system may have set more aside for the file than is in it.
    return min(status.st_size, status.st_blocks * _STAT_BLOCK_BYTES)


def _drop(descriptor: int, end: int, size: int) -> None:
    """Make a hole of what stands before `end`."""
    if _libc.fallocate(descriptor, _KEEP_SIZE_AND_PUNCH_HOLE, 0, end) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(number, os.strerror(number))
    # Some network volumes have no such call, but grow a file by a hole. What somebody appends
    # between the two truncations falls among what is dropped.
    kept = memoryview(os.pread(descriptor, size - end, end))
    os.ftruncate(descriptor, 0)
    os.ftruncate(descriptor, size)
    while kept:
        written = os.pwrite(descriptor, kept, end)
        end, kept = end + written, kept[written:]
