"""A relay as a process of its own, for tests: its configuration is JSON, and so is its pace."""

from __future__ import annotations

import json
import sys

from dcmtx.relay.config import LogFormat
from dcmtx.relay.daemon import Relay
from dcmtx.relay.health import Pace
from dcmtx.relay.settings import configuration


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    pace = settings.pop("pace")
    pace["tries"] = tuple(pace["tries"])
    more = settings.pop("more")
    config = configuration(settings).replace(log_format=LogFormat.JSON)
    Relay(config, Pace(**pace), **more).run()


if __name__ == "__main__":
    main()
