"""What one look at everything under pressure gave: all that the controller knows of the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the machine, or at the part of it that is allowed. What could not be read has its default.

    Attributes:
        at_s: monotonic seconds.
        memory_used_bytes: working set (usage without the file cache given back at need) of the level that binds: the
            one with the least room left. Which one that is may change from one reading to the next.
        memory_limit_bytes: what that level may use at most; 0: unknown.
        memory_source: what kind of level it is: `cgroup v1 /a/b`, `host`, `setting`, `unknown`.
        oom_kills: processes of our cgroup, or of the machine, killed for want of memory. Only grows; a share of them
            may be from before.
        psi_some: share of the time since the last reading in which at least one task waited for memory, 0 to 1.
        psi_full: share of that time in which all tasks did.
        cpu_share: CPU used since the last reading as a share of what is allowed, by everyone who shares in it; may be
            a little over 1. None at the first.
        cpu_cores: how many cores may be used at most, such as 1.5.
        loop_lag_s: the longest the event loop came too late since the last reading.
        open_files: of this process. `open_files_max`: None if unlimited.
        gauges: what the user's own gauges say, by name: the used share of what each measures.
        pids: processes and threads at the level with the least room for more. `pids_max`: None if unlimited.
    """

    at_s: float
    memory_used_bytes: int
    memory_limit_bytes: int
    memory_source: str
    oom_kills: int = 0
    psi_some: float | None = None
    psi_full: float | None = None
    cpu_share: float | None = None
    cpu_cores: float = 1.0
    loop_lag_s: float = 0.0
    open_files: int = 0
    open_files_max: int | None = None
    gauges: Mapping[str, float] = field(default_factory=dict)
    pids: int = 0
    pids_max: int | None = None
