"""Simulate a run that no machine here can hold: `python tests/bench/scale.py [--shards 2000000] [--price-put 5 ...]`.

The driver of `dcmtx convert --cluster` is the real one. Its engine and its store are made up: workers are lost, answers
are lost, a store says 503, shards are done twice, and the driver is killed now and then, and started again. Told is
whether every shard was done once, how much the driver's memory grew between a tenth of the run and its end, what the
driver costs per shard, and what such a run costs at the given prices.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcmtx.cluster.driver import Driver
from dcmtx.cluster.totals import Figures
from dcmtx.errors import CodecError, DcmtxError

FILES = 500
FIGURES = Figures(FILES, 0, bytes_in=265_000_000, bytes_out=104_000_000)


@dataclass
class FakeStore:
    """What is in done/: the first who makes a report makes it, all others lose."""

    done: bytearray
    created: int = 0
    lost_races: int = 0

    def create(self, number: int) -> None:
        """Make a report, if there is none."""
        if self.done[number]:
            self.lost_races += 1
        else:
            self.done[number] = 1
            self.created += 1


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, of 1."""

    worker: float = 0.01  # lost in the middle of a shard
    answer: float = 0.005  # the report is written, the answer does not come
    store: float = 0.01  # 503 until the shard gave up
    twice: float = 0.01  # done by two workers


@dataclass
class FakeEngine:
    """Does shards in any order. `most` is how many were under way at once."""

    store: FakeStore
    faults: Faults
    random: random.Random
    threads: int = 1000
    under_way: deque[int] = field(default_factory=deque)
    most: int = 0
    submitted: int = 0
    shots: int = 0

    def window(self) -> int:
        """Return how many shards may be under way: two for each thread."""
        return 2 * self.threads

    def submit(self, number: int) -> None:
        """Begin a shard."""
        self.under_way.append(number)
        self.submitted += 1
        self.most = max(self.most, len(self.under_way))

    def results(self, seconds: float) -> Iterator[tuple[int, Figures | DcmtxError]]:  # noqa: ARG002 - nobody waits
        """Yield what some shards became."""
        for _ in range(min(len(self.under_way), 1 + self.random.randrange(self.threads))):
            self.under_way.rotate(self.random.randrange(3))
            number = self.under_way.popleft()
            yield number, self._result(number)

    def _result(self, number: int) -> Figures | DcmtxError:
        dice = self.random.random()
        for chance, what in ((self.faults.worker, "the worker was lost"), (self.faults.store, "503 SlowDown")):
            if dice < chance:
                return CodecError(what, code="E_CLUSTER")
            dice -= chance
        self.store.create(number)
        if dice < self.faults.twice:
            self.store.create(number)
        return CodecError("no answer", code="E_CLUSTER") if self.random.random() < self.faults.answer else FIGURES


@dataclass
class Result:
    """What a simulation came to."""

    complete: bool
    created: int
    lost_races: int
    most: int
    submitted: int
    runs: int
    told: int
    growth: int
    seconds: float


def simulate(
    shards: int, faults: Faults | None = None, *, kills: int = 3, threads: int = 1000, seed: int = 1
) -> Result:
    """Run a driver to the end, killing and restarting it so many times."""
    dice = random.Random(seed)
    store = FakeStore(bytearray(shards))
    stops = sorted(dice.randrange(shards) for _ in range(kills))
    most = submitted = told = runs = 0
    memory: list[int] = []
    begun = time.process_time()

    def tell(_: object) -> None:
        nonlocal told
        told += 1
        if told in (shards // 10, shards // 2):
            memory.append(rss())

    while not all(store.done):
        runs += 1
        engine = FakeEngine(store, faults or Faults(), dice, threads=threads)
        stop = stops.pop(0) if stops else None
        driver = Driver(engine, tell)
        # A driver that is killed forgets everything; what was under way still ends, some of it.
        driver.drive(bytearray(store.done), lambda at=stop: at is not None and store.created >= at)
        most, submitted = max(most, engine.most), submitted + engine.submitted
        if stop is not None:
            for _ in engine.results(0):
                pass
    memory.append(rss())
    return Result(
        complete=all(store.done),
        created=store.created,
        lost_races=store.lost_races,
        most=most,
        submitted=submitted,
        runs=runs,
        told=told,
        growth=memory[-1] - memory[0] if len(memory) > 1 else 0,
        seconds=time.process_time() - begun,
    )


def rss() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass(frozen=True)
class Codec:
    """What a codec costs: core seconds per file, and bytes that are left of one."""

    name: str
    seconds: float
    left: float


# Measured: CT of 512 by 512 by 16, verified, with digests, from a store to a store.
CODECS = (Codec("HTJ2K", 9.0e-3, 0.392), Codec("JPEG-LS", 15.5e-3, 0.370))
FILE_BYTES = 530_000
HOURS = 3600.0


def costs(files: int, cores: int, prices: argparse.Namespace) -> list[tuple[str, ...]]:
    """Return the rows of the table of costs, a column for each codec."""
    requests = files * (prices.put + prices.get) / 1e6
    stored = files * FILE_BYTES / 1e12
    rows: list[tuple[str, ...]] = [("", *(codec.name for codec in CODECS))]
    rows.append(("core hours", *(f"{files * codec.seconds / HOURS:,.0f}" for codec in CODECS)))
    rows.append(("computing, $", *(f"{files * codec.seconds / HOURS * prices.core:,.0f}" for codec in CODECS)))
    rows.append(("requests, $", *(f"{requests:,.0f}" for _ in CODECS)))
    rows.append((f"left of {stored:,.0f} TB, TB", *(f"{stored * codec.left:,.0f}" for codec in CODECS)))
    rows.append(("saved a month, $", *(f"{stored * (1 - codec.left) * prices.tb:,.0f}" for codec in CODECS)))
    rows.append((f"hours on {cores} cores", *(f"{files * codec.seconds / HOURS / cores:,.1f}" for codec in CODECS)))
    rows.append(("PUT a second then", *(f"{cores / codec.seconds:,.0f}" for codec in CODECS)))
    rows.append(("GB a second in", *(f"{cores / codec.seconds * FILE_BYTES / 1e9:,.1f}" for codec in CODECS)))
    return rows


def main() -> int:
    """Simulate, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--shards", type=int, default=2_000_000)
    parser.add_argument("--cores", type=int, default=256)
    parser.add_argument("--kills", type=int, default=3, help="how often the driver is killed")
    parser.add_argument("--seed", type=int, default=1)
    for name, price, what in (
        ("core", 0.04, "a core hour"), ("put", 5.0, "10^6 PUT"), ("get", 0.4, "10^6 GET"), ("tb", 21.0, "a TB a month")
    ):  # fmt: skip
        parser.add_argument(f"--price-{name}", dest=name, type=float, default=price, help=f"$ for {what}")
    asked = parser.parse_args()
    found = simulate(asked.shards, kills=asked.kills, threads=asked.cores, seed=asked.seed)
    print(
        f"{asked.shards:,} shards: {'complete' if found.complete else 'NOT COMPLETE'}, {found.created:,} reports, "
        f"{found.lost_races:,} races lost, {found.submitted:,} handed out, {found.runs} drivers, "
        f"at most {found.most:,} under way"
    )
    print(
        f"memory grew by {found.growth / 2**20:.1f} MiB from a tenth of it to its end; "
        f"{found.seconds / found.submitted * 1e6:.1f} us CPU a shard"
    )
    rows = costs(asked.shards * FILES, asked.cores, asked)
    print(f"\n{asked.shards * FILES:,} CT of {FILE_BYTES:,} bytes")
    for row in rows:
        print(f"{row[0]:<22}" + "".join(f"{cell:>12}" for cell in row[1:]))
    flat = found.growth < 32 << 20
    return 0 if found.complete and found.created == asked.shards and found.most <= 2 * asked.cores and flat else 1


if __name__ == "__main__":
    sys.exit(main())
