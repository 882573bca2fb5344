"""Real object stores on loopback: SeaweedFS, a server in a wheel, and moto. Each is started by the test, and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

BUCKET = "images"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; another process may take one before it is used."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Store:
    """A store that runs: how it is reached, and what is in it, by boto3."""

    def __init__(self, endpoint: str) -> None:
        boto3 = pytest.importorskip("boto3")
        config = pytest.importorskip("botocore.config")
        self.environment = {
            "AWS_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=config.Config(retries={"max_attempts": 10}),
        )
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", []))


@contextlib.contextmanager
def seaweedfs(volumes: int = 5) -> Iterator[Store]:
    """Run SeaweedFS: master, volumes of 64 MB, filer and S3 in one process, which tells nobody of itself."""
    weed = shutil.which("weed", path=os.path.dirname(sys.executable)) or shutil.which("weed")
    if weed is None:
        pytest.skip("SeaweedFS is not installed")
    directory = Path(tempfile.mkdtemp(prefix="weed"))
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]
    names += ["s3.port", "s3.port.grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    line = [
        weed,
        "-logtostderr=true",
        "server",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    line += ["-filer=true", "-master.telemetry=false", f"-volume.max={volumes}", "-master.volumeSizeLimitMB=64"]
    line += [f"-{name}={port}" for name, port in ports.items()]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, cwd=directory)
        try:
            endpoint = f"http://127.0.0.1:{ports['s3.port']}"
            wait_until(lambda: _answers(endpoint) or process.poll() is not None)
            assert process.poll() is None, (directory / "log").read_text()[-2000:]
            yield wait_until(lambda: _ready(endpoint))
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(directory, ignore_errors=True)


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _ready(endpoint: str) -> Store | None:
    """Return the store once objects can be put: its volume server may come after its front."""
    botocore = pytest.importorskip("botocore.exceptions")
    try:
        store = Store(endpoint)
        store.put("ready", b"1")
        store.client.delete_object(Bucket=BUCKET, Key="ready")
    except (botocore.ClientError, botocore.HTTPClientError, botocore.BotoCoreError):
        return None
    return store


@contextlib.contextmanager
def moto() -> Iterator[Store]:
    """Run moto's server in a thread of this process."""
    server_module = pytest.importorskip("moto.server")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Store(f"http://{host}:{port}")
    finally:
        server.stop()


SERVERS = {"SeaweedFS": seaweedfs, "moto": moto}
