"""How many cores there are to be had: those of the affinity, or fewer by the quota of a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmtx.pool import machine
from dcmtx.transcoding.job import job

# What /proc/self/cgroup says, what files say below the mount, and how many of eight cores may be used.
CASES: dict[str, tuple[str, dict[str, str], int]] = {
    "no groups": ("", {}, 8),
    "version 2 without a quota": ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
    "version 2, two cores": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    "version 2, a core and a half": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "version 2, a tenth of one": ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
    "version 2, more than there are": ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
    "version 2, another period": ("0::/\n", {"cpu.max": "150000 50000\n"}, 3),
    "version 2, a group of its own": ("0::/a.slice/b\n", {"a.slice/b/cpu.max": "300000 100000\n"}, 3),
    "version 2, less further up": (
        "0::/a.slice/b\n",
        {"a.slice/b/cpu.max": "max 100000\n", "a.slice/cpu.max": "200000 100000\n", "cpu.max": "max 100000\n"},
        2,
    ),
    "version 2, a path from outside": ("0::/system.slice/docker-1.scope\n", {"cpu.max": "200000 100000\n"}, 2),
    "version 2, a path above": ("0::/../other\n", {"cpu.max": "200000 100000\n"}, 2),
    "version 2, nonsense": ("0::/\n", {"cpu.max": "many\n"}, 8),
    "version 2, no period": ("0::/\n", {"cpu.max": "200000 0\n"}, 8),
    "version 1 without a quota": (
        "1:cpu:/\n0::/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        8,
    ),
    "version 1, three cores": (
        "4:memory:/\n3:cpu,cpuacct:/docker/1\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
        3,
    ),
    "version 1, the other name": (
        "3:cpuacct,cpu:/docker/1\n",
        {"cpu/docker/1/cpu.cfs_quota_us": "50000\n", "cpu/docker/1/cpu.cfs_period_us": "50000\n"},
        1,
    ),
    "version 1, a controller of a like name": (
        "3:cpuset:/\n",
        {"cpuset/cpu.cfs_quota_us": "50000\n", "cpuset/cpu.cfs_period_us": "50000\n"},
        8,
    ),
    "a line that is none": ("what?\n\n0::/\n", {"cpu.max": "200000 100000\n"}, 2),
}


@pytest.fixture
def eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores whose control groups are below a directory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "_GROUPS", str(tmp_path / "groups"))
    monkeypatch.setattr(machine, "_MOUNT", str(tmp_path / "mount"))
    machine._quotas.cache_clear()
    yield tmp_path
    machine._quotas.cache_clear()


def lay(directory: Path, groups: str, files: dict[str, str]) -> None:
    (directory / "groups").write_text(groups)
    for name, text in files.items():
        path = directory / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("groups", "files", "cores"), CASES.values(), ids=CASES.keys())
def test_cores_are_no_more_than_the_quota(groups: str, files: dict[str, str], cores: int, eight: Path) -> None:
    lay(eight, groups, files)
    assert machine.available_cores() == cores
    assert job("a", "b", to="rle").workers == cores
    assert job("a", "b", to="rle", workers=5).workers == 5


def test_a_system_without_control_groups(eight: Path) -> None:
    assert machine.available_cores() == 8


def test_a_system_without_affinity(eight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert machine.available_cores() == 4
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.available_cores() == 1


def test_the_quota_is_read_once_and_only_if_there_is_something_to_limit(
    eight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(eight, "0::/\n", {"cpu.max": "200000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert machine.available_cores() == 1
    assert machine._quotas.cache_info().currsize == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [machine.available_cores() for _ in range(3)] == [2, 2, 2]
    assert machine._quotas.cache_info().misses == 1
