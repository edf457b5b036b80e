"""Memory that was freed does not stay with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc has heaps for threads"
)

HEAPS = """
import ctypes, threading
from fhir_coprod import trimming
{before}
def work():
    for size in range(2_000, 60_000, 5_000):
        kept = [bytes(size) for _ in range(20)]
        together.wait()
together = threading.Barrier(12)
threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w"))
library.malloc_info(0, out)
library.fclose(out)
"""


def heaps(before: str) -> int:
    """Of a process with a dozen threads that ask for memory. In a fork those of another would count, too."""
    ran = subprocess.run(
        [sys.executable, "-c", HEAPS.format(before=before)], stdout=subprocess.PIPE, check=True
    )
    return ran.stdout.count(b"<heap nr=")


def test_all_threads_share_two_heaps() -> None:
    assert heaps("trimming.share_heaps()") == 2
    assert heaps("") > 2
