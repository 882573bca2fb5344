"""The relay over TLS, as acceptor and as requestor: with DCMTK's tools, and with peers that say nothing or lie."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import dicom
import pytest
import trustme
from conftest import PATIENCE, need_tool, wait_until
from peers import CT, Destination, Sender, associate, data_set
from relays import RelayProcess, StoreScp, instance, storescu, write_instances

from dcmtx.errors import InputError
from dcmtx.relay.config import Tls
from dcmtx.relay.tls import client_context, server_context

EXPLICIT = dicom.EXPLICIT


class Papers(NamedTuple):
    """Paths of PEM files: an authority, and certificate and key of a server, of a client, and of a stranger."""

    authority: str
    server: tuple[str, str]
    client: tuple[str, str]
    stranger: tuple[str, str]


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    directory = tmp_path_factory.mktemp("papers")
    # DCMTK's tools know RSA keys best.
    authority, other = (trustme.CA(key_type=trustme.KeyType.RSA) for _ in range(2))

    def issue(by: trustme.CA, name: str) -> tuple[str, str]:
        made = by.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return str(certificate), str(key)

    path = directory / "authority.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return Papers(str(path), issue(authority, "server"), issue(authority, "client"), issue(other, "stranger"))


def own(papers: Papers, **more: object) -> dict[str, object]:
    return {"certificate": papers.server[0], "key": papers.server[1], **more}


def tools(papers: Papers, which: tuple[str, str]) -> list[str]:
    """Return the options of DCMTK for TLS: private key, certificate, and whom to trust."""
    return ["+tls", which[1], which[0], "+cf", papers.authority]


@pytest.fixture(scope="module")
def destination() -> Iterator[Destination]:
    with Destination() as running:
        yield running


@pytest.fixture(scope="module")
def strict(papers, destination) -> Iterator[RelayProcess]:
    """A relay that asks its senders for certificates."""
    with RelayProcess(
        {"address": destination.address}, artim="500 ms", tls=own(papers, authorities=papers.authority)
    ) as relay:
        yield relay


def test_who_shows_a_certificate_is_served_by_storescu(strict, destination, papers, tmp_path):
    files = write_instances(tmp_path, range(5), size=300)
    ran = storescu(strict.port, files, *tools(papers, papers.client))
    assert ran.returncode == 0, ran.stderr
    wait_until(lambda: {f"1.2.3.{number}" for number in range(5)} <= set(destination.taken()))


@pytest.mark.parametrize("who", ["stranger", "nobody", "plain"])
def test_who_shows_none_or_a_strange_one_is_not(who, strict, papers, tmp_path):
    files = write_instances(tmp_path, [77])
    options = {
        "stranger": ["-ic", *tools(papers, papers.stranger)], "nobody": ["+tla", "-ic"], "plain": [],
    }[who]  # fmt: skip
    before = len(strict.events("no tls"))
    assert storescu(strict.port, files, *options).returncode != 0
    assert strict.until("no tls", before + 1)
    assert not strict.queued()


def test_a_client_that_begins_no_handshake_holds_nobody_up_and_is_ended(strict, destination, papers, tmp_path):
    silent = [socket.create_connection(("127.0.0.1", strict.port), 20) for _ in range(20)]
    try:
        silent[0].sendall(b"\x16\x03\x01")
        files = write_instances(tmp_path, [88])
        assert storescu(strict.port, files, *tools(papers, papers.client)).returncode == 0
        assert [connection.recv(1000)[:0] for connection in silent] == [b""] * 20
    finally:
        for connection in silent:
            connection.close()
    wait_until(lambda: "1.2.3.88" in destination.taken())


def test_over_tls_the_limits_hold_too(strict, papers):
    """Silence after the handshake, and in the middle of a message."""
    context = ssl.create_default_context(cafile=papers.authority)
    context.load_cert_chain(*papers.client)
    with Sender(strict.port) as sender:
        sender.socket = context.wrap_socket(sender.socket, server_hostname="localhost")
        assert sender.read()[0] == 7
    with RelayProcess(
        {"address": "NOBODY@127.0.0.1:1"}, timeout="300 ms", tls=own(papers)
    ) as relay, Sender(relay.port) as sender:  # fmt: skip
        sender.socket = context.wrap_socket(sender.socket, server_hostname="localhost")
        sender.associate([(CT, [EXPLICIT])])
        assert sender.store(1, data_set(instance(1, size=600)), "1.2.3.1") == 0
        sender.begin(1, data_set(instance(2))[:3000], "1.2.3.2")
        assert sender.read()[0] == 7
        wait_until(lambda: not relay.leftovers())
        assert len(relay.queued()) == 1
        # SIGTERM ends one that is idle.
        with associate_tls(relay.port, context) as idle:
            assert relay.end() == 0
            assert idle.read()[0] == 7


def associate_tls(port: int, context: ssl.SSLContext) -> Sender:
    sender = Sender(port)
    sender.socket = context.wrap_socket(sender.socket, server_hostname="localhost")
    return sender.associate([(CT, [EXPLICIT])])


def send(relay: RelayProcess, *numbers: int) -> None:
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        for number in numbers:
            assert sender.store(1, data_set(instance(number, size=400)), f"1.2.3.{number}") == 0
        sender.release()


def test_a_destination_is_called_by_tls_with_a_certificate(papers, tmp_path):
    with StoreScp(tmp_path / "out", "+xa", *tools(papers, papers.server)) as storescp:
        settings = {
            "address": f"STORESCP@127.0.0.1:{storescp.port}", "prefer": ["jpegls"],
            "tls": {"authorities": papers.authority, "certificate": papers.client[0], "key": papers.client[1]},
        }  # fmt: skip
        with RelayProcess(settings) as relay:
            send(relay, *range(5))
            storescp.until(5)
            relay.until_empty()


@pytest.mark.parametrize("lie", ["a strange certificate", "another name", "no TLS"])
def test_a_destination_that_is_not_who_it_should_be_is_sent_nothing(lie, papers, tmp_path):
    which = papers.stranger if lie == "a strange certificate" else papers.server
    options = [] if lie == "no TLS" else tools(papers, which)
    host = "127.0.0.2" if lie == "another name" else "127.0.0.1"
    with StoreScp(tmp_path / "out", "+xa", *options, *([] if lie == "no TLS" else ["-ic"])) as storescp:
        timeouts = {"acse": "500 ms"}
        tls = {"authorities": papers.authority, "certificate": papers.client[0], "key": papers.client[1]}
        settings = {"address": f"STORESCP@{host}:{storescp.port}", "tls": tls, "timeouts": timeouts}
        with RelayProcess(settings) as relay:
            send(relay, 1)
            (event, *_) = relay.until("down")
            assert "there is no TLS with it" in event["reason"]
            assert len(relay.queued()) == 1
        if lie == "another name":
            with RelayProcess(settings | {"tls": tls | {"check-name": False}}) as relay:
                send(relay, 1)
                storescp.until(1)


def test_a_name_that_is_not_known_is_a_destination_that_is_down():
    with RelayProcess({"address": "NOBODY@no-such-host.invalid:104"}) as relay:
        send(relay, 1)
        (event, *_) = relay.until("down")
        assert "cannot be reached" in event["reason"]
        assert len(relay.queued()) == 1


@pytest.mark.parametrize("where", ["listen", "destination"])
@pytest.mark.parametrize("wrong", ["none.pem", "rubbish.pem"])
def test_certificates_that_cannot_be_used_are_told_at_once(where, wrong, tmp_path, papers):
    (tmp_path / "rubbish.pem").write_text("rubbish")
    table = "listen.tls" if where == "listen" else "destinations.tls"
    tls = f'[{table}]\ncertificate = "{tmp_path / wrong}"\nkey = "{papers.client[1]}"\n'
    config = tmp_path / "relay.toml"
    config.write_text(
        f'[listen]\naddress = "127.0.0.1:0"\n{tls if where == "listen" else ""}[spool]\npath = "{tmp_path}/spool"\n'
        f'[[destinations]]\nname = "a"\naddress = "A@127.0.0.1:1"\n{tls if where == "destination" else ""}'
    )
    ran = subprocess.run([sys.executable, "-m", "dcmtx", "relay", "--config", str(config)], capture_output=True,
                         text=True, timeout=60, check=False)  # fmt: skip
    assert ran.returncode == 3
    assert ran.stderr.count("\n") == 1
    assert wrong in ran.stderr


@pytest.mark.parametrize("context", [server_context, client_context])
def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(context, papers, tmp_path):
    """A service that waits for a password at a terminal never starts."""
    key = tmp_path / "locked.key"
    line = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", papers.server[1], "-out", str(key)]
    need_tool("openssl")
    subprocess.run(line, check=True, capture_output=True, timeout=PATIENCE)
    with pytest.raises(InputError, match="has a password"):
        context(Tls(papers.server[0], str(key)))
