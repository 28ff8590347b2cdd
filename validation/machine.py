"""The machine that a report was made on."""

import os
import platform
from pathlib import Path
from typing import Any

_CPU_FILE = Path("/proc/cpuinfo")


def hardware_record() -> dict[str, Any]:
    """Return processor model and count, operating system and Python version."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu_model": cpu_model(), "cpu_count": usable, "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}


def cpu_model() -> str:
    """Return the model name of the processor, or what the platform says."""
    if _CPU_FILE.is_file():
        for line in _CPU_FILE.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "unknown"
