"""What a relay is told to do, as records. `settings.py` makes them from a TOML file or from the command line."""

from __future__ import annotations

from enum import Enum

from dcmtx.planning.site import SitePolicy
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record

# The AE title of a relay that was given none.
OWN_TITLE = "DCMTX"
DICOM_PORT = 104
# Where the status page is, unless told otherwise: it has no password.
LOOPBACK = "127.0.0.1"


class Tls(Record):
    """TLS of a listener or a destination, as paths of PEM files.

    A listener has `certificate` and `key`, and with `authorities` asks its clients for certificates that these have
    signed. A destination is checked by `authorities`, or by the system's where there are none; `certificate` and `key`
    are shown to one that asks. `check_name` compares its certificate with its host.
    """

    certificate: str = ""
    key: str = ""
    authorities: str = ""
    check_name: bool = True


class Accept(Record):
    """The transfer syntaxes taken from callers: patterns of UIDs, for calling AE titles that match a pattern."""

    calling: str
    syntaxes: tuple[str, ...]


class Listen(Record):
    """Where instances are received, and from whom. Times are in seconds.

    `ae_titles` are the called AE titles that are answered, `calling` patterns of those that may call; empty: any.
    The first of `accept` whose pattern matches the caller says which transfer syntaxes are taken; none: any.
    """

    host: str = ""
    port: int = 11112
    ae_titles: tuple[str, ...] = ()
    calling: tuple[str, ...] = ()
    accept: tuple[Accept, ...] = ()
    maximum_associations: int = 64
    maximum_pdu: int = 131072
    artim: float = 5.0
    timeout: float = 60.0
    tls: Tls | None = None


class SpoolConfig(Record):
    """The directory that holds what is not delivered yet.

    Below `reserve` free bytes on its disk nothing is received; above `high_water` bytes in the spool no association is
    accepted (0: no limit).
    """

    path: str
    reserve: int = 1 << 30
    high_water: int = 0


class Kind(Enum):
    """How a destination receives."""

    DIMSE = "dimse"  # C-STORE
    STOW = "stow"  # DICOMweb, STOW-RS
    ORTHANC = "orthanc"  # Orthanc's own POST /instances
    DIRECTORY = "directory"  # files by Study, Series and SOP Instance UID


class Timeouts(Record):
    """How long to wait for a destination, in seconds.

    `acse` for the answer to an association request, `dimse` for the answer to an instance, `network` for its network to
    move anything at all.
    """

    acse: float = 10.0
    dimse: float = 60.0
    network: float = 30.0


class Login(Record):
    """What a destination of kind stow or orthanc wants to see: user and password, or a bearer token, in files."""

    user: str = ""
    password_file: str = ""
    token_file: str = ""


class Destination(Record):
    """Where instances go. `host` and `port` are of kind dimse, `url` of stow and orthanc, `path` of directory.

    `prefer` has transfer syntax UIDs, the best first; `accept` patterns of UIDs that the destination takes, empty: any.
    `policy` has the rules of a site, which may say otherwise of an instance. `lossy` is the consent to loss, with its
    parameters, or None. `window` is how many instances are transcoded ahead; an instance that was not taken for
    `hold_after` seconds is held. `proxy` is the URL of one, of stow and orthanc.
    """

    name: str
    kind: Kind = Kind.DIMSE
    host: str = ""
    port: int = DICOM_PORT
    url: str = ""
    path: str = ""
    ae_title: str = "ANY-SCP"
    calling: str = OWN_TITLE
    prefer: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    lossy: EncodingParameters | None = None
    policy: SitePolicy | None = None
    associations: int = 1
    timeouts: Timeouts = Timeouts()
    window: int = 8
    hold_after: float = 86400.0
    tls: Tls | None = None
    login: Login | None = None
    proxy: str = ""

    @property
    def address(self) -> str:
        """The address as it is written in the configuration."""
        if self.kind is Kind.DIMSE:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"{self.ae_title}@{host}:{self.port}"
        return self.path if self.kind is Kind.DIRECTORY else self.url


class Condition(Record):
    """What an attribute must be. `name` is a keyword of the standard, or `calling`, `called`; `tag` is None for these.

    One of `patterns` must match, if there are any, and none of `unlike`. An attribute that is absent is empty text.
    """

    name: str
    tag: int | None
    patterns: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()


class Route(Record):
    """Instances that meet all conditions go to these destinations; `otherwise`: those that no other route takes."""

    where: tuple[Condition, ...]
    to: tuple[str, ...]
    otherwise: bool = False


class Http(Record):
    """The status page. `hosts` are names it may be called by, beside its address. `read_only`: no retry and no drop."""

    host: str = LOOPBACK
    port: int = 8042
    hosts: tuple[str, ...] = ()
    show_names: bool = False
    read_only: bool = False


class LogFormat(Enum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class RelayConfig(Record):
    """All that a relay is told.

    `jobs` is how many processes transcode; 0: as many as there are cores. Without `routes` every instance goes to all
    destinations.
    """

    listen: Listen
    spool: SpoolConfig
    destinations: tuple[Destination, ...]
    routes: tuple[Route, ...] = ()
    http: Http | None = None
    jobs: int = 0
    log_format: LogFormat = LogFormat.TEXT

    def destination(self, name: str) -> Destination:
        """Return the destination of this name."""
        return next(each for each in self.destinations if each.name == name)
