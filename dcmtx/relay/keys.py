"""Every key of the configuration file, once: how it is read, what it is, what it is without.

The reader of files, `dcmtx relay --example` and dcmtx-relay.toml(5) are made from these tables.
"""

from __future__ import annotations

from typing import Any

from dcmtx.options import Option
from dcmtx.record import Record
from dcmtx.relay import values
from dcmtx.relay.config import (
    Accept,
    Destination,
    Http,
    Kind,
    Listen,
    LogFormat,
    Login,
    RelayConfig,
    Route,
    SpoolConfig,
    Timeouts,
    Tls,
)
from dcmtx.relay.values import Reader


class Key(Record):
    """One key: its name in the file, how its value is read, and its help.

    `example` is what `--example` shows, in TOML. `shown` keys are set there; others stand as comments, with what holds
    without them. `needed` keys have no default. `kinds` of destinations have it. `field` is the record's, if it has
    another name.
    """

    name: str
    read: Reader
    help: str
    example: str = ""
    set: bool = False
    needed: bool = False
    kinds: tuple[Kind, ...] = tuple(Kind)
    field: str = ""

    @property
    def target(self) -> str:
        """The field of the record."""
        return self.field or self.name.replace("-", "_")


class Section(Record):
    """A table of the file: its path in it, the record that it becomes, its help and its keys.

    `several`: there may be more than one, as in [[destinations]]. An `example` that is not set is a comment.
    """

    path: str
    record: type[Record]
    help: str
    keys: tuple[Key, ...]
    several: bool = False
    set: bool = False

    @property
    def header(self) -> str:
        """The line that begins it in a file."""
        return f"[[{self.path}]]" if self.several else f"[{self.path}]"

    def key(self, name: str) -> Key | None:
        """Return the key of this name."""
        return next((key for key in self.keys if key.name == name), None)


_DIMSE, _STOW, _ORTHANC, _DIRECTORY = Kind
_WEB = (_STOW, _ORTHANC)

TOP = Section(
    "", RelayConfig, "", keys=(
        Key("ae-title", values.ae_title, "The AE title by which the relay calls its destinations.", example='"DCMTX"'),
        Key("jobs", values.whole(0, 1024), "How many processes transcode. 0: as many as there are cores.", example="0"),
        Key("log-format", values.choice(LogFormat), 'Lines of the log, on standard error: "text" or "json".',
            example='"text"'),
    ), set=True,
)  # fmt: skip

LISTEN = Section(
    "listen", Listen, "Where instances are received.", keys=(
        Key("address", values.host_and_port, "HOST:PORT, or a port alone: then at every address of this machine.",
            example='"0.0.0.0:11112"', set=True, needed=True),
        Key("ae-titles", values.several(values.ae_title),
            "Called AE titles that are answered; others are rejected. Without it any is.", example='["DCMTX"]'),
        Key("calling", values.several(values.ae_pattern),
            "Patterns of the AE titles that may call. Without it any may.", example='["CT*", "MR?", "WORKSTATION"]'),
        Key("maximum-associations", values.whole(1, 1000),
            "How many associations at a time. More are rejected, and may try again.", example="64"),
        Key("maximum-pdu", values.whole(4096, 1 << 20), "The longest PDU that senders may send, in bytes.",
            example="131072"),
        Key("artim", values.seconds(0.1, 600), "How long a new connection may take to ask for an association.",
            example='"5 s"'),
        Key("timeout", values.seconds(0.1, 86400), "How long an association may be silent.", example='"60 s"'),
    ), set=True,
)  # fmt: skip

ACCEPT = Section(
    "listen.accept", Accept,
    "Which transfer syntaxes are taken from whom; the first table whose calling matches counts. A caller that none "
    "matches may send in any that dcmtx reads.", keys=(
        Key("calling", values.ae_pattern, "A pattern of calling AE titles.", example='"OLD*"', needed=True),
        Key("syntaxes", values.syntax_patterns,
            "Names, UIDs or patterns of UIDs; `dcmtx syntaxes` lists the names.",
            example='["explicit", "implicit", "1.2.840.10008.1.2.4.8?"]', needed=True),
    ), several=True,
)  # fmt: skip

_CERTIFICATE = "Its own certificate, a PEM file with those that signed it."

LISTEN_TLS = Section(
    "listen.tls", Tls, "With this table, everybody has to come by TLS.", keys=(
        Key("certificate", values.path, _CERTIFICATE, example='"/etc/dcmtx/relay.pem"', needed=True),
        Key("key", values.path, "The key of the certificate, a PEM file that only the relay may read.",
            example='"/etc/dcmtx/relay.key"', needed=True),
        Key("authorities", values.path,
            "Senders must show a certificate that one of these has signed. Without it they need none.",
            example='"/etc/dcmtx/senders.pem"'),
    ),
)  # fmt: skip

SPOOL = Section(
    "spool", SpoolConfig, "What is received and not delivered yet, on a disk that keeps what it is told.", keys=(
        Key("path", values.path, "A directory of its own, which no other relay uses.",
            example='"/var/spool/dcmtx"', set=True,
            needed=True),
        Key("reserve", values.size, "Bytes that stay free on that disk: below, senders are told to try later.",
            example='"1 GiB"'),
        Key("high-water", values.size, "With more in the spool no association is accepted. 0: no limit.", example="0"),
    ), set=True,
)  # fmt: skip

HTTP = Section(
    "http", Http, "A page that shows queues and what is held, /metrics for Prometheus, and /health.", keys=(
        Key("address", values.host_and_port,
            "HOST:PORT, or a port alone, which is this machine's own. There is no password: who reaches it sees it, "
            "and may retry and drop.",
            example='"127.0.0.1:8042"', set=True, needed=True),
        Key("hosts", values.several(values.host),
            "Names by which browsers may call it, beside its address: those of a proxy before it, say.",
            example='["relay.example.org"]'),
        Key("read-only", values.flag,
            "No retry and no drop on the page. Without it: true where others than this machine reach it.",
            example="false"),
        Key("show-names", values.flag, "Show the names of patients and studies on the page, beside UIDs.",
            example="false"),
    ), set=True,
)  # fmt: skip

DESTINATION = Section(
    "destinations", Destination, "Where instances go. There may be several of these tables.", keys=(
        Key("name", values.name, "What it is called here, in the log, and in the spool.", example='"archive"', set=True,
            needed=True),
        Key("kind", values.choice(Kind),
            '"dimse" (C-STORE), "stow" (DICOMweb STOW-RS), "orthanc" (POST /instances) or "directory".',
            example='"dimse"'),
        Key("address", values.text,
            "dimse: AET@HOST:PORT. stow: the URL that /studies follows. orthanc: the URL that /instances follows. "
            "directory: a path, below which are Study, Series and SOP Instance UID; another instance that has the UIDs "
            "of one that is there comes beside it.",
            example='"ARCHIVE@10.0.0.5:104"', set=True, needed=True),
        Key("calling", values.ae_title, "The AE title that it is called by, if not ae-title above.", example='"DCMTX"',
            kinds=(_DIMSE,)),
        Key("prefer", values.several(values.text),
            "Transfer syntaxes to send in, the best first: names, families or UIDs. Where it takes none of them, or "
            "the standard allows none, an instance goes as it came; else as Explicit or Implicit VR Little Endian.",
            example='["jpegls", "rle"]', set=True),
        Key("accept", values.syntax_patterns,
            "What may be sent at all, as names, UIDs or patterns of UIDs. Without it: whatever it accepts.",
            example='["explicit", "implicit", "1.2.840.10008.1.2.4.8?"]'),
        Key("policy", values.site_policy,
            "A file of rules, an absolute path: which instances become what, go as they came, are left out or held; "
            "dcmtx-policy(1) tells of them. What no rule is for goes as `prefer` says.",
            example='"/etc/dcmtx/site.toml"'),
        Key("proxy", values.url, "The proxy of HTTP to go through.", example='"http://proxy.example.org:3128"',
            kinds=_WEB),
        Key("associations", values.whole(1, 64), "How many instances are sent at a time.", example="1"),
        Key("window", values.whole(1, 256), "How many instances are transcoded before it is their turn.", example="8"),
        Key("hold-after", values.seconds(1, 86400 * 366),
            "How long an instance is tried that it has no room for; then it is held until somebody looks.",
            example='"24 h"'),
    ), several=True, set=True,
)  # fmt: skip

_LOSSY_HELP = (
    "Consent to loss, and how much; a family of transfer syntaxes then means its lossy member. What has lost something "
    "gets a new SOP Instance UID. Without this table nothing is ever lost. The keys are those of `dcmtx convert`."
)


def _lossy_keys() -> tuple[Key, ...]:
    """Return the coding parameters of the vocabulary as keys."""
    from dcmtx.options import OPTIONS
    from dcmtx.policy import EncodingParameters

    names = [name for name in EncodingParameters._fields if name != "lossy"]
    return tuple(
        Key(name.replace("_", "-"), _parameter(name), OPTIONS[name].describe(), example=_value(OPTIONS[name]))
        for name in names
    )


# Of numbers, one that somebody might want.
_NUMBERS = {"quality": 90, "ratio": 10, "psnr": 45, "near": 2, "resolutions": 6, "tile": 512, "code_block": 64}


def _value(option: Option) -> str:
    """Return a value of an option as TOML has it."""
    if option.words:
        return f'"{option.words[0]}"'
    return str(_NUMBERS.get(option.name, int(option.least or 0)))


def _parameter(name: str) -> Reader:
    from dcmtx.errors import UsageError
    from dcmtx.options import OPTIONS

    def read(value: Any) -> Any:
        try:
            return OPTIONS[name].checked(value)
        except UsageError as error:
            what = error.what.partition(" ")[2].replace(repr(value), values.shown(value))
            raise values.UnfitError(what) from None

    return read


def _lossy() -> Section:
    from dcmtx.policy import EncodingParameters

    return Section("destinations.lossy", EncodingParameters, _LOSSY_HELP, keys=_lossy_keys())


LOSSY = _lossy()

TIMEOUTS = Section(
    "destinations.timeouts", Timeouts, "How long it is waited for.", keys=(
        Key("acse", values.seconds(0.1, 3600), "Until it takes a connection, or an association.", example='"10 s"'),
        Key("dimse", values.seconds(0.1, 86400), "Until it answers what became of an instance.", example='"60 s"'),
        Key("network", values.seconds(0.1, 3600), "While nothing moves, neither there nor back.", example='"30 s"'),
    ),
)  # fmt: skip

TLS = Section(
    "destinations.tls", Tls, "With this table it is called by TLS. A URL with https needs no such table.", keys=(
        Key("authorities", values.path, "Who must have signed its certificate. Without it: whom the system trusts.",
            example='"/etc/dcmtx/hospital.pem"', kinds=(_DIMSE, *_WEB)),
        Key("check-name", values.flag, "Whether its certificate must be for the host of its address.", example="true"),
        Key("certificate", values.path, "The relay's own certificate, for one that asks.",
            example='"/etc/dcmtx/relay.pem"'),
        Key("key", values.path, "The key of that certificate.", example='"/etc/dcmtx/relay.key"'),
    ),
)  # fmt: skip

LOGIN = Section(
    "destinations.login", Login, "What a destination of kind stow or orthanc wants to see.", keys=(
        Key("user", values.text, "A user, whose password is in the file below.", example='"relay"'),
        Key("password-file", values.path, "A file that has the password in its first line.",
            example='"/etc/dcmtx/password"'),
        Key("token-file", values.path, "Or a file that has a bearer token in its first line, read for every instance.",
            example='"/run/dcmtx/token"'),
    ),
)  # fmt: skip

ROUTE = Section(
    "routes", Route,
    "Which instances go where. Without any such table every instance goes to all destinations. An instance goes to the "
    "destinations of every route whose conditions it meets, once to each. One that no route takes is refused, so that "
    "its sender knows.", keys=(
        Key("to", values.several(values.name), "Names of destinations.", example='["archive"]', set=True, needed=True),
        Key("otherwise", values.flag, "true: only for instances that no other route takes; then there is no where.",
            example="false"),
    ), several=True, set=True,
)  # fmt: skip

WHERE_HELP = (
    "Conditions, all of which must be met: calling and called (AE titles), and attributes by their keywords, such as "
    "Modality, SOPClassUID, StationName, StudyDescription, or by (GGGG,EEEE). A value is text, in which * is any text "
    "and ? any character, or a list of such texts of which one must match. A ! before a text: not that. An absent "
    "attribute is empty text; of several values one is enough. A SOP class may be named by its keyword."
)

SECTIONS = (TOP, LISTEN, ACCEPT, LISTEN_TLS, SPOOL, HTTP, DESTINATION, LOSSY, TIMEOUTS, TLS, LOGIN, ROUTE)
