"""Writing at the end of a file, all or nothing, though the disk may fill up in the middle."""

from __future__ import annotations

import os


def append_whole(descriptor: int, data: bytes) -> bool:
    """Append data to a file that is open for appending; whether it has all of it, else none.

    Raises:
        OSError: it cannot be written.
    """
    size = os.fstat(descriptor).st_size
    written = os.write(descriptor, data)
    if written == len(data):
        return True
    if os.fstat(descriptor).st_size == size + written:  # nobody else has written since
        os.ftruncate(descriptor, size)
    return False
