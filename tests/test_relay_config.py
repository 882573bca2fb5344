"""The configuration of a relay: every key, what is said of wrong ones, the example, the simple words."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dcmtx.errors import InputError, UsageError
from dcmtx.policy import EncodingParameters
from dcmtx.relay import config, keys
from dcmtx.relay.config import (
    Condition,
    Destination,
    Kind,
    LogFormat,
    Login,
    RelayConfig,
    Route,
    Timeouts,
    Tls,
)
from dcmtx.relay.example import example
from dcmtx.relay.settings import configuration, load
from dcmtx.relay.words import from_words

MINIMAL = """
[listen]
address = 11112
[spool]
path = "/var/spool/dcmtx"
[[destinations]]
name = "archive"
address = "ARCHIVE@10.0.0.5:104"
"""


def read(text: str) -> RelayConfig:
    return configuration(tomllib.loads(text))


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(text)
    return caught.value


def destination(lines: str) -> Destination:
    return read(MINIMAL + lines).destinations[0]


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_file_of_five_keys_is_enough():
    found = read(MINIMAL)
    assert (found.listen.host, found.listen.port) == ("", 11112)
    assert found.spool.path == "/var/spool/dcmtx"
    (archive,) = found.destinations
    assert (archive.name, archive.kind, archive.ae_title, archive.host, archive.port) == (
        "archive", Kind.DIMSE, "ARCHIVE", "10.0.0.5", 104,
    )  # fmt: skip
    assert archive.address == "ARCHIVE@10.0.0.5:104"
    assert (archive.prefer, archive.accept, archive.lossy, archive.calling) == ((), (), None, "DCMTX")
    assert (found.routes, found.http, found.jobs, found.log_format) == ((), None, 0, LogFormat.TEXT)


def test_every_key_of_listen_and_spool_is_read():
    found = read(
        """
        ae-title = "RELAY"
        jobs = 3
        log-format = "json"
        [listen]
        address = "[::1]:104"
        ae-titles = ["RELAY", "OLD RELAY "]
        calling = "CT*"
        maximum-associations = 5
        maximum-pdu = 65536
        artim = "500 ms"
        timeout = 2.5
        [[listen.accept]]
        calling = "CT*"
        syntaxes = ["explicit", "jpegls", "1.2.840.10008.1.2.4.9?"]
        [[listen.accept]]
        calling = "*"
        syntaxes = "ImplicitVRLittleEndian"
        [listen.tls]
        certificate = "/etc/a.pem"
        key = "/etc/a.key"
        authorities = "/etc/them.pem"
        [spool]
        path = "/var/spool/../spool/relay/"
        reserve = "10 GiB"
        high-water = 5000
        [[destinations]]
        name = "a"
        address = "A@h"
        """
    )
    assert found.listen == config.Listen(
        "::1", 104, ("RELAY", "OLD RELAY"), calling=("CT*",), maximum_associations=5, maximum_pdu=65536, artim=0.5,
        timeout=2.5, tls=Tls("/etc/a.pem", "/etc/a.key", "/etc/them.pem"),
        accept=(
            config.Accept("CT*", ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81",
                                  "1.2.840.10008.1.2.4.9?")),
            config.Accept("*", ("1.2.840.10008.1.2",)),
        ),
    )  # fmt: skip
    assert found.spool == config.SpoolConfig("/var/spool/relay", 10 << 30, 5000)
    assert (found.jobs, found.log_format) == (3, LogFormat.JSON)
    assert (found.destinations[0].calling, found.destinations[0].port) == ("RELAY", 104)


def test_every_key_of_a_destination_is_read():
    found = destination(
        """
        calling = "US1"
        prefer = ["htj2k", "JPEG2000Lossless", "1.2.840.10008.1.2.5", "raw"]
        accept = ["explicit", "1.2.840.10008.1.2.4.*"]
        associations = 4
        window = 16
        hold-after = "2 d"
        timeouts = { acse = 1, dimse = "5 min", network = "2 s" }
        tls = { authorities = "/etc/ca.pem", check-name = false, certificate = "/a", key = "/b" }
        """
    )
    assert found == Destination(
        "archive", host="10.0.0.5", ae_title="ARCHIVE", calling="US1",
        prefer=("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1"),
        accept=("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.*"), associations=4, window=16, hold_after=172800.0,
        timeouts=Timeouts(1.0, 300.0, 2.0), tls=Tls("/a", "/b", "/etc/ca.pem", check_name=False),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "field", "expected"),
    [
        ('kind = "stow"\naddress = "https://pacs/dicom-web/"', "url", "https://pacs/dicom-web"),
        ('kind = "orthanc"\naddress = "http://10.0.0.7:8042"', "url", "http://10.0.0.7:8042"),
        ('kind = "directory"\naddress = "/srv//images"', "path", "/srv/images"),
    ],
    ids=["stow has a URL", "orthanc has a URL", "a directory has a path"],
)
def test_other_kinds_have_other_addresses(lines, field, expected):
    found = read(MINIMAL.replace('address = "ARCHIVE@10.0.0.5:104"', lines)).destinations[0]
    assert getattr(found, field) == found.address == expected


def test_a_login_is_user_and_password_file_or_a_token_file():
    stow = MINIMAL.replace('"ARCHIVE@10.0.0.5:104"', '"http://h"\nkind = "stow"')
    assert read(stow + 'login = {token-file = "/run/t"}').destinations[0].login == Login(token_file="/run/t")
    both = read(stow + 'login = {user = "u", password-file = "/p"}').destinations[0].login
    assert both == Login("u", "/p")


@pytest.mark.parametrize(
    ("lines", "prefer", "lossy"),
    [
        ('prefer = "jpeg"\nlossy = true', (".50", ".51"), EncodingParameters(lossy=True)),
        ('prefer = "jpeg"\nlossy = {quality = 80, subsampling = "444"}', (".50", ".51"),
         EncodingParameters(lossy=True, quality=80, subsampling="444")),
        ('prefer = ["j2k", "jpegls-lossless"]\nlossy = {ratio = 12.5}', (".91", ".80"),
         EncodingParameters(lossy=True, ratio=12.5)),
        ('prefer = "htj2k"\nlossy = {code-block = 32}', (".203",), EncodingParameters(lossy=True, code_block=32)),
        ('prefer = ["jpeg", "j2k"]\nlossy = false', (".70", ".90"), None),
    ],
    ids=["consent alone", "JPEG with quality", "with one that cannot lose", "a name of two words", "no consent"],
)  # fmt: skip
def test_consent_to_loss_has_a_family_mean_its_lossy_members(lines, prefer, lossy):
    found = destination(lines)
    assert found.prefer == tuple(f"1.2.840.10008.1.2.4{last}" for last in prefer)
    assert found.lossy == lossy


def test_routes_have_conditions_by_keyword_or_number_and_by_who_calls():
    found = read(
        MINIMAL
        + """
        [[destinations]]
        name = "cad"
        address = "CAD@10.0.0.6:104"
        [[routes]]
        to = ["cad", "archive", "cad"]
        [routes.where]
        calling = "CT*"
        Modality = ["CT", "!OT"]
        SOPClassUID = ["CTImageStorage", "1.2.840.10008.5.1.4.1.1.4*"]
        "(0019,10AB)" = 7
        [[routes]]
        to = "archive"
        otherwise = true
        """
    )
    assert found.routes == (
        Route(
            (
                Condition("calling", None, ("CT*",)),
                Condition("Modality", 0x00080060, ("CT",), unlike=("OT",)),
                Condition("SOPClassUID", 0x00080016, ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4*")),
                Condition("(0019,10AB)", 0x001910AB, ("7",)),
            ),
            ("cad", "archive"),
        ),
        Route((), ("archive",), otherwise=True),
    )


@pytest.mark.parametrize(
    ("address", "host", "port", "read_only"),
    [
        ("8042", "127.0.0.1", 8042, False), ('"127.0.0.1:0"', "127.0.0.1", 0, False), ('"[::1]:81"', "::1", 81, False),
        ('"localhost:81"', "localhost", 81, False), ('"10.0.0.9:8042"', "10.0.0.9", 8042, True),
        ('"*:8042"', "", 8042, True), ('"0.0.0.0:8042"', "0.0.0.0", 8042, True),
    ],
    ids=["a port alone", "loopback", "loopback, IPv6", "localhost", "another address", "every address",
         "every address, written out"],
)  # fmt: skip
def test_the_status_page_changes_nothing_where_others_than_this_machine_reach_it(address, host, port, read_only):
    found = read(f"{MINIMAL}\n[http]\naddress = {address}").http
    assert found == config.Http(host, port, read_only=read_only)


def test_the_status_page_may_be_told_so():
    found = read(f'{MINIMAL}\n[http]\naddress = "*:1"\nread-only = false\nhosts = ["a.b"]\nshow-names = true').http
    assert found == config.Http("", 1, ("a.b",), show_names=True, read_only=False)


# --- what is refused -----------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, str]] = {
    "no listener": ('[spool]\npath="/s"\n[[destinations]]\nname="a"\naddress="A@h"', "there is no table [listen]"),
    "no spool": ('[listen]\naddress=1\n[[destinations]]\nname="a"\naddress="A@h"', "there is no table [spool]"),
    "no destination": ('[listen]\naddress=1\n[spool]\npath="/s"', "there is no table [[destinations]]"),
    "one destination in one bracket": ('[listen]\naddress=1\n[spool]\npath="/s"\n[destinations]\nname="a"',
                                       "write it in two brackets: [[destinations]]"),
    "a table that nobody knows": (MINIMAL + "[routing]", "there is no key routing; did you mean routes?"),
    "a key with a slip": (MINIMAL + "asociations = 2",
                          '[[destinations]] "archive": there is no key asociations; did you mean associations?'),
    "a key like no other": (MINIMAL + "zzz = 2", "there are name, kind, address"),
    "a table that is a number": ("listen = 3\n" + MINIMAL.replace("[listen]\naddress = 11112", ""),
                                 "listen is 3, not a table; write [listen]"),
    "a destination without a name": (MINIMAL.replace('name = "archive"', ""), "name is missing; write name = "),
    "two destinations of a name": (MINIMAL + '[[destinations]]\nname = "Archive"\naddress = "A@h"',
                                   'there are two [[destinations]] "Archive"'),
    "a name that is a path": (MINIMAL.replace('"archive"', '"../x"'), 'name is "../x", not a name'),
    "a kind that is none": (MINIMAL + 'kind = "ftp"', 'kind is "ftp", not one of "dimse", "stow", "orthanc"'),
    "an address without a title": (MINIMAL.replace("ARCHIVE@", ""), 'write "AET@HOST:PORT"'),
    "a title of 17 characters": (MINIMAL.replace("ARCHIVE", "A" * 17), 'write "AET@HOST:PORT"'),
    "a URL for dimse": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "https://pacs"), 'write "AET@HOST:PORT"'),
    "an AE address for stow": (MINIMAL + 'kind = "stow"', 'write "http://HOST:PORT/PATH"'),
    "a password in the URL": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "https://a:b@pacs") + 'kind = "stow"',
                              "has a user in it; write it under login"),
    "a relative directory": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "images") + 'kind = "directory"',
                             "not an absolute path"),
    "a directory in the spool": (
        MINIMAL.replace("ARCHIVE@10.0.0.5:104", "/var/spool/dcmtx/x") + 'kind = "directory"', "have them side by side"),
    "the spool in a directory": (
        MINIMAL.replace("ARCHIVE@10.0.0.5:104", "/var") + 'kind = "directory"', "have them side by side"),
    "a calling title for stow": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "http://h") + 'kind="stow"\ncalling="X"',
                                 'calling is not for kind "stow"'),
    "a login for dimse": (MINIMAL + 'login = {token-file = "/t"}', 'login is not for kind "dimse"'),
    "a login of nothing": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "http://h") + 'kind="stow"\nlogin = {}',
                           "login is not complete; write user and password-file, or token-file"),
    "tls for http": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "http://h") + 'kind="stow"\ntls = true',
                     "write https:, or leave tls out"),
    "tls for a directory": (MINIMAL.replace("ARCHIVE@10.0.0.5:104", "/d") + 'kind="directory"\ntls = true',
                            'tls is not for kind "directory"'),
    "a certificate without its key": (MINIMAL + 'tls = {certificate = "/a"}', "tls has one of certificate and key"),
    "a syntax that is none": (MINIMAL + 'prefer = "jpegxs"', 'prefer has "jpegxs", which is no transfer syntax'),
    "a syntax that nothing encodes": (MINIMAL + 'prefer = "1.2.840.10008.1.2.4.102"', "which dcmtx cannot encode"),
    "a lossy syntax without consent": (MINIMAL + 'prefer = "jpeg-baseline"', "consent in a file, by a table lossy"),
    "consent where nothing can lose": (MINIMAL + 'prefer = "rle"\nlossy = true', "nothing that it prefers can lose"),
    "a parameter of another family": (MINIMAL + 'prefer = "jpeg"\nlossy = {near = 3}', "lossy has near, which nothing"),
    "a parameter out of range": (MINIMAL + 'prefer = "jpeg"\nlossy = {quality = 200}',
                                 "quality is 200, not in the range from 1 to 100"),
    "two measures of loss": (MINIMAL + 'prefer = "j2k"\nlossy = {ratio = 3, psnr = 40}', "each say how much"),
    "an accept pattern of nothing": (MINIMAL + 'accept = "1.2.840.10008.1.2.4.8"', "which no transfer syntax has"),
    "nothing of prefer in accept": (MINIMAL + 'prefer = "rle"\naccept = "jpegls"', "nothing that it prefers"),
    "an accept pattern of words": (MINIMAL + 'accept = "jpeg*"', "not a pattern of UIDs"),
    "a number for a flag": (MINIMAL + "[http]\naddress = 1\nshow-names = 1", "show-names is 1, not true or false"),
    "true for a number": (MINIMAL + "associations = true", "associations is true, not a whole number from 1 to 64"),
    "no associations": (MINIMAL + "associations = 0", "associations is 0, not a whole number from 1 to 64"),
    "a time in words": (MINIMAL + 'hold-after = "a day"', 'write seconds, or "500 ms"'),
    "no time at all": (MINIMAL + "hold-after = 0", "not from 1 to"),
    "a size in words": (MINIMAL.replace("[[dest", 'reserve = "much"\n[[dest'), 'reserve is "much", not a size'),
    "a negative size": (MINIMAL.replace("[[dest", "reserve = -5\n[[dest"), "not a size"),
    "a port beyond all": (MINIMAL.replace("11112", "70000"), "address is 70000, whose port is not in the range"),
    "a route to nowhere": (MINIMAL + '[[routes]]\nto = "x"', 'to has "x", and there is no such destination'),
    "a route without a destination": (MINIMAL + "[[routes]]\nto = []", "to is empty"),
    "otherwise with conditions": (MINIMAL + '[[routes]]\nto = "archive"\notherwise = true\nwhere = {Modality = "CT"}',
                                  "it has otherwise and where"),
    "an attribute that is none": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {Modalty = "CT"}',
                                  "[[routes]] number 1: where: Modalty is no keyword"),
    "an attribute of items": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {ViewCodeSequence = "CT"}',
                              "has no text that could be compared"),
    "pixels as a condition": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {"7FE0,0010" = "CT"}',
                              "not in the data set before the pixels"),
    "a SOP class that is none": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {SOPClassUID = "CTStorage"}',
                                 "neither a UID nor a keyword"),
    "a condition of nothing": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {Modality = []}', "is an empty list"),
    "a condition of truth": (MINIMAL + '[[routes]]\nto = "archive"\nwhere = {Modality = true}', "not text or a number"),
    "a key without its certificate": (MINIMAL + '[listen.tls]\nkey = "/a"', "[listen.tls] certificate is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_with_table_and_key_and_what_to_write(text, said):
    assert said in refused(text).message


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text(MINIMAL + "associations = 0")
    with pytest.raises(UsageError) as caught:
        load(os.fspath(path))
    assert caught.value.path == os.fspath(path)
    assert caught.value.code == "E_CONFIG"


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [(None, InputError, "cannot be read"), (b"a = \n", UsageError, "it is not TOML: invalid value (at line 1"),
     (b"a = '\xff'", UsageError, "not UTF-8")],
    ids=["no file", "no TOML", "no UTF-8"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_told(content, kind, said, tmp_path):
    path = tmp_path / "relay.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind) as caught:
        load(os.fspath(path))
    assert said in caught.value.message
    assert caught.value.path == os.fspath(path)


# --- the example ---------------------------------------------------------------------------------------------------


def test_the_example_is_a_configuration():
    found = read(example())
    assert [each.kind for each in found.destinations] == [Kind.DIMSE, Kind.STOW, Kind.DIRECTORY]
    assert len(found.routes) == 3


def _uncommented(section: keys.Section, *leave: str) -> list[str]:
    """Return the lines of a section of the example with all its keys set, but for those to leave."""
    lines = example().splitlines()
    if section.path:
        lines = lines[next(i for i, line in enumerate(lines) if line.lstrip("# ") == section.header) + 1 :]
    found = []
    for key in section.keys:
        (line, *_) = [line for line in lines if line.removeprefix("# ").startswith(f"{key.name} = ")]
        assert line == ("" if key.set else "# ") + f"{key.name} = {key.example}"
        if key.name not in leave:
            found.append(line.removeprefix("# "))
    return found


@pytest.mark.parametrize("section", keys.SECTIONS, ids=lambda section: section.path or "top")
def test_every_key_is_in_the_example_under_its_table_and_explained(section):
    assert _uncommented(section)
    for key in section.keys:
        assert len(key.help) > 10
        assert key.needed <= key.set or not section.set


def test_every_key_of_the_example_is_read_as_it_stands_there(tmp_path):
    (tmp_path / "site.toml").write_text('[[rule]]\nto = "rle"\n')
    (proxy,) = [line for line in _uncommented(keys.DESTINATION) if line.startswith("proxy = ")]
    stow = f'[[destinations]]\nname = "web"\nkind = "stow"\naddress = "https://h"\n{proxy}'
    parts: list[Any] = [
        *_uncommented(keys.TOP),
        "[listen]", *_uncommented(keys.LISTEN), "[[listen.accept]]", *_uncommented(keys.ACCEPT),
        "[listen.tls]", *_uncommented(keys.LISTEN_TLS), "[spool]", *_uncommented(keys.SPOOL),
        "[http]", *_uncommented(keys.HTTP),
        "[[destinations]]", *_uncommented(keys.DESTINATION, "prefer", "proxy"),
        'prefer = ["jpeg", "j2k", "htj2k", "jpegls", "jpegxl"]',
        "[destinations.lossy]",
        # ratio and psnr exclude one another, and the predictor is of a syntax without loss.
        *_uncommented(keys.LOSSY, "psnr", "predictor", *NEWER),
        "[destinations.timeouts]", *_uncommented(keys.TIMEOUTS), "[destinations.tls]", *_uncommented(keys.TLS),
        stow, "[destinations.login]", *_uncommented(keys.LOGIN, "token-file"),
        stow.replace("web", "other"), "[destinations.login]", *_uncommented(keys.LOGIN, "user", "password-file"),
        "[[routes]]", *_uncommented(keys.ROUTE),
    ]  # fmt: skip
    # The rules of a site are a file that must be there.
    found = read("\n".join(parts).replace("/etc/dcmtx/site.toml", str(tmp_path / "site.toml")))
    assert found.listen.artim == 5.0
    assert found.destinations[0].policy is not None
    assert found.destinations[0].lossy is not None
    assert found.destinations[0].lossy.subsampling == "444"


def _newer() -> tuple[str, ...]:
    """Name the coding parameters that the installed encoders do not take."""
    from dcmtx.codec.table import ENCODERS

    taken = {name for row in ENCODERS.every_row() for name in row.options}
    return tuple(name.replace("_", "-") for name in EncodingParameters._fields if name not in taken)


NEWER = _newer()


def test_every_field_of_every_record_has_a_key():
    made_of_others = {
        "listen", "spool", "destinations", "routes", "http", "accept", "tls", "lossy", "timeouts", "login", "where",
        # of an address
        "host", "port", "url", "path", "ae_title",
    }  # fmt: skip
    for section in keys.SECTIONS:
        fields = {key.target for key in section.keys} | {"address", "ae_title"}
        # Clients of a listener have no name that could be checked.
        not_its_own = {"check_name"} if section is keys.LISTEN_TLS else set()
        missing = set(section.record._fields) - fields - made_of_others - not_its_own
        assert not missing, section.path


# --- the simple words ----------------------------------------------------------------------------------------------


def test_the_command_line_says_the_same_as_a_file(tmp_path):
    found = from_words(
        "11112", ["ARCHIVE@10.0.0.5:104", "CAD@[::1]:105"], os.fspath(tmp_path / "spool"), transcode=["jpegls"],
        aet="RELAY", http="8042", jobs=2, log_format="json",
    )  # fmt: skip
    one, two = found.destinations
    assert (one.name, one.host, one.port, one.ae_title, one.calling) == (
        "ARCHIVE@10.0.0.5:104", "10.0.0.5", 104, "ARCHIVE", "RELAY",
    )  # fmt: skip
    assert (two.host, two.address) == ("::1", "CAD@[::1]:105")
    assert one.prefer == two.prefer == ("1.2.840.10008.1.2.4.80",)
    assert found.listen == config.Listen("", 11112, ("RELAY",))
    assert (found.jobs, found.log_format, found.http) == (2, LogFormat.JSON, config.Http())


def test_the_name_of_a_destination_depends_on_its_own_address_alone(tmp_path):
    first = from_words("1", ["A@h:104"], os.fspath(tmp_path)).destinations
    second = from_words("1", ["B@i:104", "A@h:104"], os.fspath(tmp_path)).destinations
    assert first[0].name == second[1].name == "A@h:104"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"listen": "x"}, '--listen is "x", not an address'),
        ({"listen": "99999"}, '--listen is "99999", whose port is not in the range from 0 to 65535'),
        ({"listen": "[::1]:" + "9" * 5000}, "whose port is not in the range from 0 to 65535"),
        ({"to": ["10.0.0.5:104"]}, '--to is "10.0.0.5:104", not an address; write "AET@HOST:PORT"'),
        ({"transcode": ["jpegz"]}, '--transcode has "jpegz", which is no transfer syntax'),
        ({"transcode": ["jpeg-baseline"]}, "--transcode has jpeg-baseline, which loses information"),
        ({"aet": "A" * 20}, "--aet is"), ({"http": "10.0.0.1"}, '--http is "10.0.0.1", not an address'),
        ({"to": ["A@h", "A@h:104"]}, "there are two"),
    ],
    ids=["listen", "a port beyond all", "a port of many digits", "to",
         "an unknown syntax", "a lossy syntax", "title", "http", "one address twice"],
)  # fmt: skip
def test_a_wrong_word_is_told_by_its_option(words, said, tmp_path: Path):
    given = {"listen": "1", "to": ["A@h"], "spool": os.fspath(tmp_path)} | words
    with pytest.raises(UsageError) as caught:
        from_words(**given)
    assert said in caught.value.message


# --- whatever is written ---------------------------------------------------------------------------------------------

ODD: list[Any] = [
    0, -1, 1 << 70, 1.5, float("nan"), float("inf"), "", " ", "x" * 1000, "\0", "é", "*", "!", "[", "::", "@", True,
    False, [], [[]], [1], [{}], {}, {"a": {}}, datetime(2026, 1, 2, tzinfo=UTC), ["x", 1], "http://[", "A@[", "1e999 s",
    "-1 GiB",
]  # fmt: skip


def places(table: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a configuration, tables and lists too."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def test_whatever_stands_at_a_key_is_read_or_told_and_never_more():
    whole = tomllib.loads(example())
    archive, web, _ = whole["destinations"]
    archive |= {
        "tls": {"authorities": "/a"},
        "timeouts": {"acse": 1},
        "lossy": {"near": 1},
        "accept": ["explicit", "jpegls"],
    }
    web |= {"login": {"token-file": "/t"}, "proxy": "http://p"}
    whole["listen"]["accept"] = [{"calling": "*", "syntaxes": ["rle"]}]
    whole["listen"]["tls"] = {"certificate": "/c", "key": "/k"}
    configuration(whole)
    told = []
    for place in list(places(whole)):
        for odd in ODD:
            spoiled = copy.deepcopy(whole)
            inner = spoiled
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = odd
            try:
                configuration(spoiled)
            except UsageError as error:
                told.append(error.message)
    assert len(told) > 1000
    assert max(map(len, told)) < 400, max(told, key=len)
