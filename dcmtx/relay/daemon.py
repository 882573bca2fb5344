"""The relay: everything put together, started in order and ended in order."""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dcmtx.errors import OutputError
from dcmtx.relay.acceptor import Acceptor
from dcmtx.relay.config import Destination, RelayConfig
from dcmtx.relay.forward import Forwarder
from dcmtx.relay.front import Front
from dcmtx.relay.health import Pace
from dcmtx.relay.log import Log
from dcmtx.relay.metrics import Counters
from dcmtx.relay.reception import Desk
from dcmtx.relay.routing import Router
from dcmtx.relay.spool import Spool
from dcmtx.relay.state import snapshot
from dcmtx.relay.tls import client_context
from dcmtx.relay.transcode import Transcoder
from dcmtx.signals import ENDING

if TYPE_CHECKING:
    from types import FrameType

# How long one instance may take to be transcoded, in seconds.
_TRANSCODING = 600.0
# How long messages may take that have begun when the relay ends.
_PATIENCE = 20.0


def _raise_limit() -> None:
    """Let the process open as many files as it may: an association takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Relay:
    """A relay. Make it in the main thread, before any other thread is started.

    `pace` says how often things are tried again, `transcoding` how many seconds an instance may take, `modules` what
    the processes import that transcode. Raises OutputError if the spool or a port cannot be used, CodecError or
    OutputError if no process can be started.
    """

    def __init__(
        self,
        config: RelayConfig,
        pace: Pace | None = None,
        *,
        transcoding: float = _TRANSCODING,
        modules: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.log = Log(config.log_format)
        self.counters = Counters()
        self.started = time.time()
        self.pid = os.getpid()
        self._ended = threading.Event()
        for each in config.destinations:
            if each.tls is not None:
                # What is wrong with a file is told now, and not when the first instance is to be sent.
                client_context(each.tls)
        with contextlib.ExitStack() as undo:
            # First, while nothing here would be harmed by a fork.
            self._transcoder = Transcoder(config.jobs, transcoding, modules)
            undo.callback(self._transcoder.stop)
            self.spool = Spool(config.spool.path, [each.name for each in config.destinations])
            undo.callback(self.spool.close)
            self._acceptor = self._listen()
            undo.callback(self._acceptor.close)
            self.forwarders = {each.name: self._forwarder(each, pace or Pace()) for each in config.destinations}
            self._front = Front(self)
            undo.pop_all()

    def _listen(self) -> Acceptor:
        listen, spool = self.config.listen, self.config.spool
        desk = Desk(self.spool, Router(self.config), spool, counters=self.counters, log=self.log)
        try:
            return Acceptor(listen, desk)
        except OSError as error:
            where = f"{listen.host or '*'}:{listen.port}"
            raise OutputError(f"it cannot listen at {where}: {error.strerror or error}") from error

    def _forwarder(self, destination: Destination, pace: Pace) -> Forwarder:
        return Forwarder(
            destination, self.spool, self._transcoder, counters=self.counters, log=self.log, pace=pace
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where it listens."""
        return joined(*self._acceptor.address[:2])

    @property
    def port(self) -> int:
        """The port where it listens."""
        port: int = self._acceptor.address[1]
        return port

    @property
    def page(self) -> tuple[str, int] | None:
        """Where the status page is, if there is one."""
        return self._front.page.address if self._front.page is not None else None

    def associations(self) -> int:
        """Return how many associations of senders are open."""
        return self._acceptor.associations()

    def start(self) -> None:
        """Receive and send, in threads."""
        # Not in a thread of the first association, which would be late.
        importlib.import_module("pynetdicom.pdu")
        # What peers send is not for the log of a library, which is no event.
        warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom)\..*")
        _raise_limit()
        self._transcoder.start()
        for forwarder in self.forwarders.values():
            forwarder.start()
        self._acceptor.start()
        self._front.start()
        waiting = sum(len(queue) for queue in self.spool.queues.values())
        page = "" if self.page is None else f"; its page is at http://{joined(*self.page)}"
        self.log.write("start", f"listens at {self.address}, {waiting} instances wait in {self.spool.path}{page}",
                       pid=self.pid, address=self.address, port=self.port, spool=self.spool.path,
                       waiting=waiting, page=self.page)  # fmt: skip
        for name in self.spool.strangers():
            self.log.write("stranger", f"{self.spool.path}/queue/{name} is of no destination; what is in it stays",
                           destination=name)  # fmt: skip

    def run(self) -> None:
        """Receive and send until `end` is called, or SIGTERM, SIGINT or SIGHUP ends it, if they are not ignored."""
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._answer)
        self.start()
        self._ended.wait()
        self.stop()

    def _answer(self, _number: int, _frame: FrameType | None) -> None:
        self.end()

    def end(self) -> None:
        """Have `run` end. A signal handler may call it."""
        self._ended.set()

    def stop(self) -> None:
        """Finish the messages that have begun, and leave the rest in the queues."""
        self.log.write("stop", "ends after what is under way", pid=self.pid)
        self._front.close()
        for forwarder in self.forwarders.values():
            forwarder.stop()
        self._acceptor.stop(_PATIENCE)
        until = time.monotonic() + _PATIENCE
        # Who waits for a file that is being made waits no more; who sends goes on.
        self._transcoder.stop()
        for forwarder in self.forwarders.values():
            forwarder.join(until)
        self.spool.close()
        waiting = sum(len(queue) for queue in self.spool.queues.values())
        self.log.write("end", f"ends, {waiting} instances wait", pid=self.pid, waiting=waiting)

    # --- what may be asked of it

    def state(self) -> dict[str, Any]:
        """Return what it says of itself; see `state.snapshot`."""
        return snapshot(self)

    def hold(self, destination: str) -> int:
        """Send nothing to a destination until `retry`; return how many instances wait. Raises KeyError."""
        self.forwarders[destination].hold()
        self.log.write("hold", f"{destination} is held", destination=destination)
        return len(self.spool.queues[destination])

    def retry(self, destination: str, identifier: str | None = None) -> int:
        """Send what is held for a destination, one or all; return how many. Raises KeyError."""
        count = self.forwarders[destination].retry(identifier)
        self.log.write("retry", f"{destination}: {count} are tried again", destination=destination, count=count,
                       id=identifier)  # fmt: skip
        return count

    def drop(self, destination: str, identifier: str) -> int:
        """Remove an instance that a destination did not take; return 1, or 0 if it is not there. Raises KeyError."""
        count = self.forwarders[destination].queue.drop(identifier)
        if count:
            self.log.write("dropped", f"{destination}: {identifier} is dropped", destination=destination,
                           id=identifier)  # fmt: skip
        return count


def joined(host: str, port: int) -> str:
    """Return an address as it is written: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
