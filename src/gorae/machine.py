"""What this machine is: cores this process may use, processor, and a name for both."""

import hashlib
import os
import platform
from pathlib import Path

# Of a control group, as containers and schedulers set it: "QUOTA PERIOD" or "max PERIOD".
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
CPU_INFO = Path("/proc/cpuinfo")


def num_cores(limit: Path = CPU_LIMIT) -> int:
    """Cores this process may use: of its affinity, and of its container's share of time.

    Args:
        limit: The file in which Linux states that share; ignored where it does not exist.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = limit.read_text("ascii").split()
    except OSError:
        return cores
    # A share of half a core is still one core that runs half of the time.
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def processor_name(info: Path = CPU_INFO) -> str:
    """The processor as it calls itself.

    Args:
        info: The file in which Linux describes it; elsewhere Python is asked.
    """
    return _cpu_fields(info).get("model name") or platform.processor() or platform.machine()


def machine_fingerprint(info: Path = CPU_INFO, limit: Path = CPU_LIMIT) -> str:
    """A name that two machines share only where the same code should be as fast on both.

    It joins the processor's name, what it can compute (virtual machines hide the first, not
    the second) and the usable cores.
    """
    fields = _cpu_fields(info)
    abilities = " ".join(sorted((fields.get("flags") or fields.get("Features", "")).split()))
    digest = hashlib.sha256(abilities.encode()).hexdigest()[:8]
    model = "-".join(fields.get(key, "") for key in ("cpu family", "model", "stepping"))
    parts = (
        platform.machine(),
        processor_name(info),
        model,
        digest,
        f"{num_cores(limit)} cores",
    )
    return ", ".join(parts)


def _cpu_fields(info: Path) -> dict[str, str]:
    """What Linux says of the first core."""
    try:
        first = info.read_text("utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
