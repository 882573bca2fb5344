"""Looks at all that a configuration names, and tries every destination, without storing or changing anything."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator

from dcmtx.errors import DcmtxError, InputError
from dcmtx.record import Record
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable
from dcmtx.relay.config import Destination, Kind, RelayConfig, SpoolConfig, Tls
from dcmtx.relay.control import Asked, ask
from dcmtx.relay.posting import Poster, Reply, answer_to_http
from dcmtx.relay.tls import client_context, server_context

_DELIMITER = "dcmtx-check"
_NOTHING = f"--{_DELIMITER}--\r\n".encode("ascii")
# A Store Transaction of nothing is refused by those who would take something.
_THERE = (400, 409, 411, 415, 422)


class Found(Record):
    """What was found of one thing: the listener, the spool, the page, or a destination; `well` if it can be used."""

    name: str
    well: bool
    text: str


def check(config: RelayConfig) -> Iterator[Found]:
    """Yield what is found, of one thing after the other; destinations are asked as they are reached."""
    runs = _runs(config.spool)
    yield _listener("listen", config.listen.host, config.listen.port, tls=config.listen.tls, runs=runs)
    yield _spool(config.spool, runs=runs)
    if config.http is not None:
        yield _listener("http", config.http.host, config.http.port, tls=None, runs=runs)
    for destination in config.destinations:
        found = _destination(destination)
        unused = config.routes and not any(destination.name in route.to for route in config.routes)
        yield found.replace(text=f"{found.text}; no route goes to it") if unused else found


def _runs(spool: SpoolConfig) -> bool:
    """Tell whether a relay runs with this spool."""
    try:
        ask(spool.path, Asked("status"))
    except DcmtxError:
        return False
    return True


def _listener(name: str, host: str, port: int, *, tls: Tls | None, runs: bool) -> Found:
    where = f"{host or '*'}:{port}"
    try:
        if tls is not None:
            server_context(tls)
    except InputError as error:
        return Found(name, False, f"{where}: {error.path}: {error}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if runs:
            return Found(name, True, f"{where}: the relay that runs with this spool may have it")
        return Found(name, False, f"{where}: {error.strerror or error}")
    return Found(name, True, f"{where} is free")


def _spool(spool: SpoolConfig, *, runs: bool) -> Found:
    path, made = spool.path, ""
    if not os.path.lexists(path):
        path, made = os.path.dirname(path), ", to be made"
    if not os.path.isdir(path):
        return Found("spool", False, f"{spool.path}: there is no directory {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        return Found("spool", False, f"{spool.path}: {path} may not be written to")
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    room = f"{free / 1e9:.1f} GB free on its disk"
    if free <= spool.reserve:
        return Found("spool", False, f"{spool.path}: {room}, and {spool.reserve / 1e9:.1f} GB stay reserved")
    return Found("spool", True, f"{spool.path}{made}{', in use by a relay' if runs else ''}: {room}")


def _destination(destination: Destination) -> Found:
    began = time.monotonic()
    try:
        answer = _TRIALS[destination.kind](destination)
    except Undeliverable as error:
        answer = error.answer
    except InputError as error:
        answer = Answer(AnswerKind.UNREACHABLE, text=f"{error.path}: {error}")
    well = answer.kind is AnswerKind.DELIVERED
    seconds = f" in {time.monotonic() - began:.2f} s" if well and destination.kind is not Kind.DIRECTORY else ""
    # A directory names itself where something is wrong with it.
    text = answer.whole.removeprefix(f"{destination.address}: ")
    return Found(destination.name, well, f"{destination.address}: {text}{seconds}")


def _echo(destination: Destination) -> Answer:
    from dcmtx.relay.requestor import echo

    if destination.tls is not None:
        client_context(destination.tls)
    answer = echo(destination)
    return Answer(answer.kind, text="it answers C-ECHO") if answer.kind is AnswerKind.DELIVERED else answer


def _store_nothing(destination: Destination) -> Answer:
    """Send a Store Transaction without an instance: whoever stores says that this is none."""
    poster = Poster(destination)
    try:
        kind = f'multipart/related; type="application/dicom"; boundary={_DELIMITER}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        reply = poster.post("/studies", iter((_NOTHING,)), len(_NOTHING), headers)
    finally:
        poster.close()
    if isinstance(reply, Answer):
        return reply
    if reply.is_success or reply.status in _THERE:
        return Answer(AnswerKind.DELIVERED, text="it answers")
    return answer_to_http(reply.status, reply.said())


def _ask_orthanc(destination: Destination) -> Answer:
    poster = Poster(destination)
    try:
        reply = poster.get("/system")
    finally:
        poster.close()
    if isinstance(reply, Answer):
        return reply
    return _orthanc(reply) if reply.is_success else answer_to_http(reply.status, reply.said())


def _orthanc(reply: Reply) -> Answer:
    try:
        found = json.loads(reply.body)
        version = found["Version"] if "DicomAet" in found else None
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if version is None:
        return Answer(AnswerKind.REJECTED, text="what answers there is no Orthanc")
    return Answer(AnswerKind.DELIVERED, text=f"Orthanc {version} answers")


def _look(destination: Destination) -> Answer:
    from dcmtx.relay.directory import open_delivery

    open_delivery(destination, ()).close()
    return Answer(AnswerKind.DELIVERED, text="it can be written to")


_TRIALS: dict[Kind, Callable[[Destination], Answer]] = {
    Kind.DIMSE: _echo,
    Kind.STOW: _store_nothing,
    Kind.ORTHANC: _ask_orthanc,
    Kind.DIRECTORY: _look,
}
