"""How a relay that runs is asked: the control socket of its spool, and the status page if it has one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dcmtx.errors import OutputError
from dcmtx.relay.attributes import read_file
from dcmtx.relay.control import ControlServer
from dcmtx.relay.metrics import exposition
from dcmtx.relay.view import Names
from dcmtx.relay.web import Source, StatusPage

if TYPE_CHECKING:
    from dcmtx.relay.daemon import Relay

_PATIENT_NAME, _PATIENT_ID, _STUDY_DESCRIPTION = 0x00100010, 0x00100020, 0x00081030
_NAMED = (_PATIENT_NAME, _PATIENT_ID, _STUDY_DESCRIPTION)


class Front:
    """Everything that answers questions about a relay. Raises OutputError if it cannot listen."""

    def __init__(self, relay: Relay) -> None:
        config = relay.config
        self.page: StatusPage | None = None
        try:
            self._control = ControlServer(relay, config.spool.path)
        except OSError as error:
            raise OutputError(
                f"the control socket cannot be made: {error.strerror or error}", path=config.spool.path
            ) from error
        if config.http is None:
            return
        source = Source(
            relay,
            lambda: exposition(relay.state(), relay.counters.durations()),
            spool=config.spool,
            names=_namer(relay),
        )
        try:
            self.page = StatusPage(config.http, source)
        except OSError as error:
            self._control.close()
            where = f"{config.http.host or '*'}:{config.http.port}"
            raise OutputError(f"no status page can be at {where}: {error.strerror or error}") from error

    def start(self) -> None:
        """Begin to answer."""
        self._control.start()
        if self.page is not None:
            self.page.start()

    def close(self) -> None:
        """Answer no more."""
        self._control.close()
        if self.page is not None:
            self.page.close()


def _namer(relay: Relay) -> Names:
    """Return what reads names of what is held: of patient and study."""

    @lru_cache(maxsize=1000)
    def names(destination: str, identifier: str) -> str:
        path = relay.spool.queues[destination].held_path(identifier)
        found = {} if path is None else read_file(path, _NAMED)
        return " · ".join(text for tag in _NAMED if (text := "\\".join(found.get(tag, ()))))

    return names
