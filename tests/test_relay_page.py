"""The status page of a relay: who may ask for what, what is told of a patient, and what a browser makes of it."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from browser import Browser
from conftest import PATIENCE, wait_until
from fake_relay import FakeRelay, busy, destination, held

from dcmtx.relay.config import Http, SpoolConfig
from dcmtx.relay.request import page_file
from dcmtx.relay.view import MOST_HELD, health, view
from dcmtx.relay.web import Source, StatusPage

JPEGLS = "1.2.840.10008.1.2.4.80"
PAGES = ["/", "/page.css", "/page.js", "/icon.svg", "/state", "/metrics", "/health"]


@contextmanager
def page(relay: FakeRelay, *, names: Any = None, spool: SpoolConfig | None = None, **settings: Any) -> Iterator[str]:
    """Give the host and port of a status page of this relay."""
    served = StatusPage(Http(port=0, **settings), Source(relay, lambda: b"up 1\n", spool=spool, names=names))
    served.start()
    try:
        yield "{}:{}".format(*served.address)
    finally:
        served.close()


class Answer:
    """An answer of HTTP."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(where: str, path: str = "/", method: str = "GET", body: Any = None, **headers: str | None) -> Answer:
    """Ask as the page would, but for the headers given; None leaves one out."""
    sent: dict[str, str | None] = {"Host": where, "Content-Type": None, "Origin": None}
    if method == "POST":
        sent |= {"Content-Type": "application/json", "Origin": f"http://{where}"}
    sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection(where, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return Answer(connection.getresponse())
    finally:
        connection.close()


# --- who asks for what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_everything_is_served_with_headers_that_keep_others_out(path):
    with page(busy()) as where:
        answer = ask(where, path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_has_no_script_or_style_in_it_and_names_nothing_elsewhere():
    markup = page_file("page.html").decode()
    assert "<style" not in markup
    assert "style=" not in markup
    assert "onclick" not in markup
    assert all("src=" in part for part in markup.split("<script")[1:])
    for name in ("page.html", "page.js", "page.css"):
        text = page_file(name).decode()
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
    assert "innerHTML" not in page_file("page.js").decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200), ("127.0.0.1", 200), ("localhost:{port}", 200), ("LOCALHOST:{port}", 200),
        ("relay.example.org", 200), ("relay.example.org:443", 200), ("evil.example.org:{port}", 421), ("", 421),
        ("10.0.0.1:{port}", 421), ("127.0.0.1.evil.org", 421), ("[::1]:{port}", 421), ("a@127.0.0.1.x", 421),
        (None, 421), ("[", 421),
    ],
    ids=["address and port", "address", "localhost", "in capitals", "a name of hosts", "with another port",
         "a name that was made to mean this machine", "nothing", "another address", "a name that begins like it",
         "another loopback", "a user before it", "no host at all", "rubbish"],
)  # fmt: skip
def test_a_host_that_is_not_its_own_is_refused(host, status):
    with page(busy(), hosts=("Relay.example.org",)) as where:
        asked = None if host is None else host.format(port=where.rpartition(":")[2])
        for path in ("/", "/state", "/metrics"):
            answer = ask(where, path, host=asked)
            assert answer.status == status
        assert status == 200 or answer.json["advice"].startswith("call it by its address")


@pytest.mark.parametrize(
    ("listens", "asked"), [("", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]")],
    ids=["at every address", "at every address, IPv6 too", "IPv6"],
)  # fmt: skip
def test_wherever_it_listens_it_knows_its_own_address(listens, asked):
    with page(busy(), host=listens) as where:
        host = f"{asked}:{where.rpartition(':')[2]}"
        assert ask(host, "/state").status == 200
        assert ask(host, "/state", host=f"10.0.0.1:{where.rpartition(':')[2]}").status == 421


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_known(method):
    with page(busy()) as where:
        assert ask(where, "/state", method).status == 501


@pytest.mark.parametrize("path", ["/retry", "/drop", "/retry?destination=cloud", "/drop?destination=cloud&id=2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_is_changed_by_get(path, method):
    relay = busy()
    with page(relay) as where:
        answer = ask(where, path, method, origin=f"http://{where}")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert relay.asked == []


DROP = {"destination": "cloud", "id": f"{2:020d}"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"origin": None}, DROP, 403),
        ({"origin": "null"}, DROP, 403),
        ({"origin": "http://evil.example.org"}, DROP, 403),
        ({"origin": "http://127.0.0.1:1"}, DROP, 403),
        ({"content_type": "text/plain"}, DROP, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, b"destination=cloud&id=2", 415),
        ({"content_type": None}, DROP, 415),
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({}, DROP | {"do": "hold"}, 400),
        ({}, DROP | {"more": 1}, 400),
        ({}, {"destination": "cloud", "id": "x" * 5000}, 413),
        ({}, None, 413),
        ({}, {"destination": "cloud", "id": 2}, 409),
        ({}, {"destination": "nowhere", "id": "2"}, 409),
        ({}, {"destination": "cloud", "id": "7"}, 409),
        ({}, {"destination": "cloud"}, 409),
        ({"host": "evil.example.org"}, DROP, 421),
    ],
    ids=["no origin", "a page without one", "another page", "another server of this machine", "a form's text", "a form",
         "no type", "half of JSON", "a list", "another verb", "another key", "too much", "nothing", "a number",
         "an unknown destination", "an unknown instance", "no instance", "another host"],
)  # fmt: skip
def test_a_post_that_is_not_the_pages_own_changes_nothing(headers, body, status):
    relay = busy()
    with page(relay) as where:
        answer = ask(where, "/drop", "POST", body, **headers)
    assert answer.status == status
    assert answer.json["error"]
    assert [asked for asked in relay.asked if asked[0] != "drop"] == []
    assert len(relay.now["destinations"]["cloud"]["held"]) == 2


def test_a_post_of_the_page_retries_and_drops():
    relay = busy()
    with page(relay) as where:
        assert ask(where, "/drop", "POST", DROP).json == {"count": 1}
        assert ask(where, "/retry", "POST", {"destination": "cloud", "id": None}).json == {"count": 1}
    assert relay.asked == [("drop", "cloud", DROP["id"]), ("retry", "cloud", "all")]


def test_a_page_that_is_read_only_changes_nothing():
    relay = busy()
    with page(relay, read_only=True) as where:
        assert ask(where, "/drop", "POST", DROP).status == 403
        assert ask(where, "/state").json["read_only"] is True
    assert relay.asked == []


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/../config.py", 404), ("/page/page.js", 404)])
def test_what_is_not_there_is_not_found(path, status):
    with page(busy()) as where:
        assert ask(where, path).status == status
        assert ask(where, path, "POST", {}).status == status


def test_head_has_no_body_and_the_connection_goes_on():
    with page(busy()) as where:
        connection = http.client.HTTPConnection(where, timeout=PATIENCE)
        for _ in range(2):
            connection.request("HEAD", "/state")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read())["receiving"] is True
        connection.close()


def test_a_client_that_says_nothing_or_goes_holds_up_nobody():
    with page(busy()) as where:
        host, _, port = where.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(5)]
        gone = socket.create_connection((host, int(port)))
        gone.sendall(b"GET /state HTTP/1.1\r\nHost: x\r\n")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        assert ask(where, "/health").status == 200
        for each in silent:
            each.close()


def test_more_connections_than_people_make_are_closed():
    with page(busy()) as where:
        host, _, port = where.rpartition(":")
        held_open = [socket.create_connection((host, int(port)), PATIENCE) for _ in range(70)]

        def closed() -> int:
            found = 0
            for each in held_open:
                each.setblocking(False)
                try:
                    found += each.recv(1) == b""
                except BlockingIOError:
                    pass
                except ConnectionError:
                    found += 1
            return found

        wait_until(lambda: closed() >= 6)
        for each in held_open:
            each.close()
        wait_until(lambda: _answers(where))


def _answers(where: str) -> bool:
    try:
        return ask(where, "/health").status == 200
    except OSError:
        return False


# --- what is told --------------------------------------------------------------------------------------------------


def test_names_are_shown_only_where_they_may_be():
    asked = []

    def names(name: str, identifier: str) -> str:
        asked.append((name, identifier))
        return "Doe^Jane"

    relay = busy()
    with page(relay, names=names) as where:
        assert "names" not in ask(where, "/state").body.decode()
    assert asked == []
    with page(relay, names=names, show_names=True) as where:
        found = ask(where, "/state").json["destinations"]["research"]["held"][0]
    assert found["names"] == "Doe^Jane"
    assert ("research", found["id"]) in asked


def test_what_a_destination_said_itself_is_shown_only_where_names_may_be():
    relay = FakeRelay(a=destination(held=[held(1, "status C000, cannot understand", said="no such patient: Doe^Jane")]))
    with page(relay) as where:
        assert "Doe" not in ask(where, "/state").body.decode()
    with page(relay, names=lambda *_: "", show_names=True) as where:
        (found,) = ask(where, "/state").json["destinations"]["a"]["held"]
    assert found["reason"] == "status C000, cannot understand, 'no such patient: Doe^Jane'"


def many_held() -> FakeRelay:
    return FakeRelay(a=destination(held=[held(number, f"reason {number % 2}") for number in range(MOST_HELD + 51)]))


def test_of_many_held_the_first_are_told_and_all_are_counted():
    shown = view(many_held().state(), Http())["destinations"]["a"]
    assert (len(shown["held"]), shown["held_count"]) == (MOST_HELD, MOST_HELD + 51)
    assert shown["reasons"] == [("reason 0", 76), ("reason 1", 75)]


def test_the_page_knows_nothing_of_processes_and_paths_and_names_syntaxes():
    shown = view(busy().state(), Http())
    assert not {"pid", "spool"} & set(shown)
    assert shown["syntaxes"][JPEGLS] == "jpegls-lossless"


@pytest.mark.parametrize(
    ("relay", "spool", "word", "receiving"),
    [
        (FakeRelay(a=destination()), SpoolConfig("/s", 0), "ok", True),
        (busy(), SpoolConfig("/s", 0), "look", True),
        (FakeRelay(a=destination(state="held")), None, "look", True),
        (FakeRelay(a=destination()), SpoolConfig("/s", 100 << 40), "full", False),
        (FakeRelay(a=destination()), SpoolConfig("/s", 0, 1000), "full", False),
        (FakeRelay(a=destination()), SpoolConfig("/s", 0, 1 << 40), "ok", True),
    ],
    ids=["all is well", "one is down", "one is paused", "no more than the reserve", "above the high water", "below it"],
)
def test_health_is_whether_it_receives_and_says_what_to_look_at(relay, spool, word, receiving):
    assert health(relay.state(), spool)["status"] == word
    with page(relay, spool=spool) as where:
        answer = ask(where, "/health")
    assert answer.status == (200 if receiving else 503)
    assert answer.json["receiving"] is receiving


# --- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


def size_of_png(data: bytes) -> tuple[int, int]:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", data[16:24])


def colours_of_png(data: bytes) -> int:
    """Return roughly how many different pieces the rows of a picture have: an empty page has few."""
    position, rows = 8, b""
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            rows += data[position + 8 : position + 8 + length]
        position += 12 + length
    raw = zlib.decompress(rows)
    return len({raw[start : start + 16] for start in range(0, len(raw), 16)})


@pytest.mark.parametrize(
    ("width", "dark"), [(360, False), (390, True), (768, False), (1200, True), (1200, False)],
    ids=["a small phone", "a phone, dark", "a tablet", "a desktop, dark", "a desktop"],
)  # fmt: skip
def test_the_page_shows_all_there_is_at_every_width(browser, width, dark):
    with page(busy()) as where, browser.open(f"http://{where}/", width, dark=dark) as shown:
        shown.until("document.querySelectorAll('article').length === 3")
        text = shown.text()
        for said in (
            "1 down, 3 held", "ARCHIVE@10.0.0.5:104", "https://pacs.example.org/dicom-web", "connection refused",
            "next try in", "jpegls-lossless: 48", "A700: 3", "2 instances held", "1.2.826.0.1.3680043.2.1125.2",
            "status C000, cannot understand", "held for 2 d", "No space left on device", "1 h 30 min", "CT1: 48",
        ):  # fmt: skip
            assert said in text, said
        # Nothing is cut off, and nobody scrolls sideways.
        assert shown.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert shown.run("document.title").startswith("1 down, 3 held")
        if width < 500:
            # What a finger meets.
            assert shown.run("Math.min(...[...document.querySelectorAll('button')].filter(b => b.offsetHeight)"
                             ".map(b => b.offsetHeight))") >= 40  # fmt: skip
        picture = shown.screenshot()
        assert size_of_png(picture)[0] == width
        assert colours_of_png(picture) > 500
        assert shown.complaints() == []


def contrast(shown: Any, selector: str) -> float:
    """Return the contrast of an element's text with what is behind it (WCAG 2.1, 1.4.3)."""
    script = """(selector) => {
        const light = (rgb) => { const [r, g, b] = rgb.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92
            : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const parse = (text) => text.match(/[\\d.]+/g).map(Number);
        let node = document.querySelector(selector); const text = parse(getComputedStyle(node).color);
        let ground = [0, 0, 0, 0];
        while (node && (ground.length > 3 && ground[3] === 0)) {
            ground = parse(getComputedStyle(node).backgroundColor); node = node.parentElement; }
        const [a, b] = [light(text.slice(0, 3)), light(ground.slice(0, 3))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05); }"""
    return shown.run(f"({script})({json.dumps(selector)})")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(browser, dark):
    with page(busy()) as where, browser.open(f"http://{where}/", dark=dark) as shown:
        shown.until("document.querySelectorAll('article').length === 3")
        for selector in (
            "h1", "#about", "#overall", ".chip.good", ".chip.bad", ".trouble", "dt", "dd", "dd.warn", ".uid",
            "button.drop", "button.retry", "footer", "a",
        ):  # fmt: skip
            assert contrast(shown, selector) >= 4.5, selector


def test_a_relay_where_all_is_well_says_so(browser):
    relay = FakeRelay(archive=destination(delivered={JPEGLS: 3}))
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('article').length === 1")
        assert "● all is well" in shown.text()
        assert shown.run("document.title") == "dcmtx relay"
        assert not shown.run("[...document.querySelectorAll('button')].some(b => b.offsetHeight)")


def test_of_many_held_the_page_shows_why_and_how_many_more_there_are(browser):
    with page(many_held()) as where, browser.open(f"http://{where}/") as shown:
        shown.until(f"document.querySelectorAll('li').length === {MOST_HELD}")
        text = shown.text()
        assert "151 instances held" in text
        assert "76 \u00d7 reason 0 · 75 \u00d7 reason 1" in text
        assert "51 more; dcmtx relay status lists all of them." in text


def test_what_waits_for_a_destination_that_was_is_told(browser):
    relay = FakeRelay(archive=destination())
    relay.now["strangers"] = ["old archive"]
    assert health(relay.state())["status"] == "look"
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('article').length === 1")
        assert "Instances wait for old archive, which is no destination of this relay." in shown.text()
        assert "unclaimed instances" in shown.run("document.title")
        # It was never called, so that nobody knows whether it is up.
        assert "not called yet" in shown.text()


def test_a_page_with_every_trouble_at_once_fits_a_small_phone(browser):
    relay = busy()
    relay.now["strangers"] = ["an-archive-that-was-here-until-last-year", "x" * 60]
    relay.now["spool_free"] = 0
    relay.now["destinations"]["archive"].update(state="held", error="e" * 300)
    relay.now["destinations"]["n" * 100] = destination(address="/" + "d" * 200, held=[held(9, "r" * 500)])
    with page(relay, spool=SpoolConfig("/s")) as where, browser.open(f"http://{where}/", 360) as shown:
        shown.until("document.querySelectorAll('article').length === 4")
        assert "disk full, 1 down, 1 paused, 4 held, unclaimed instances" in shown.text()
        assert shown.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_destination_that_is_paused_goes_on_when_somebody_says_so(browser):
    relay = FakeRelay(archive=destination(state="held", queue=3))
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('article').length === 1")
        assert "Paused: nothing is sent to it" in shown.text()
        shown.click("article .bar .bar button")
        shown.until("document.querySelector('dialog').open")
        assert "Go on sending to archive?" in shown.text()
        shown.click("#yes")
        wait_until(lambda: relay.asked == [("retry", "archive", "all")])


def test_drop_asks_first_and_cancel_changes_nothing(browser):
    relay = busy()
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('button.drop').length >= 3")
        shown.click("button.drop")
        shown.until("document.querySelector('dialog').open")
        assert "Drop this instance for cloud?" in shown.text()
        assert "never get it" in shown.text()
        assert "1.2.826.0.1.3680043.2.1125.2" in shown.run("document.querySelector('dialog').innerText")
        # Whoever hits Enter has dropped nothing.
        assert shown.run("document.activeElement.id") == "no"
        shown.click("#no")
        shown.until("!document.querySelector('dialog').open")
        shown.click("button.drop")
        shown.until("document.querySelector('dialog').open")
        for kind in ("rawKeyDown", "keyUp"):
            shown.call("Input.dispatchKeyEvent", type=kind, key="Escape", windowsVirtualKeyCode=27)
        shown.until("!document.querySelector('dialog').open")
        assert relay.asked == []
        shown.click("button.drop")
        shown.until("document.querySelector('dialog').open")
        shown.click("#yes")
        shown.until("document.querySelectorAll('article')[1].querySelectorAll('li').length === 1")
        assert relay.asked == [("drop", "cloud", f"{2:020d}")]
        assert "Dropped." in shown.text()
        assert shown.complaints() == []


def test_retry_asks_first_for_one_and_for_all(browser):
    relay = busy()
    with page(relay) as where, browser.open(f"http://{where}/", 390) as shown:
        shown.until("document.querySelectorAll('button.retry').length >= 3")
        shown.click("li button.retry")
        shown.until("document.querySelector('dialog').open")
        assert "Send this instance to cloud again?" in shown.text()
        shown.click("#yes")
        shown.until("document.querySelectorAll('article')[1].querySelectorAll('li').length === 1")
        assert relay.asked == [("retry", "cloud", f"{2:020d}")]
        shown.until("document.body.innerText.includes('1 instance is back in the queue of cloud')")
        shown.click("article.bad .bar .bar button")
        shown.until("document.querySelector('dialog').open")
        assert "Try cloud again now?" in shown.text()
        shown.click("#yes")
        wait_until(lambda: relay.asked[1:] == [("retry", "cloud", "all")])
        assert shown.complaints() == []


def test_what_fails_is_told(browser):
    relay = busy()
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('button.drop').length >= 3")
        # In between somebody else has dropped it.
        gone = relay.now["destinations"]["cloud"]["held"].pop(0)
        shown.click("button.drop")
        shown.click("#yes")
        shown.until("document.body.innerText.includes('That failed')")
        assert f"cloud holds no instance '{gone['id']}'" in shown.text()


def test_a_page_that_is_read_only_has_no_buttons(browser):
    with page(busy(), read_only=True) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('li').length === 3")
        assert not shown.run("[...document.querySelectorAll('main button')].some(b => b.offsetHeight)")


def test_what_others_have_written_is_text_and_no_markup(browser):
    evil = "<img src=x onerror=document.title='evil'><script>document.title='evil'</script>"
    relay = FakeRelay(a=destination(address=evil, error=evil, state="down", held=[held(1, evil, instance=evil)]))
    relay.now["received"] = {evil: 1}
    with page(relay, names=lambda *_: evil, show_names=True) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('li').length === 1")
        assert shown.run("document.querySelectorAll('main img, main script').length") == 0
        assert shown.text().count(evil) >= 5
        assert shown.run("document.title") == "1 down, 1 held \u2013 dcmtx relay"


def test_the_page_goes_on_by_itself_and_keeps_what_is_marked(browser):
    relay = busy()
    with page(relay) as where, browser.open(f"http://{where}/") as shown:
        shown.until("document.querySelectorAll('li').length === 3")
        shown.run("getSelection().selectAllChildren(document.querySelector('li .uid'))")
        relay.now["destinations"]["archive"]["queue"] = 4711
        shown.until("document.body.innerText.includes('4\\u202f711')")
        assert shown.run("String(getSelection())") == "1.2.826.0.1.3680043.2.1125.2"


def test_a_relay_that_ends_is_told_and_what_stands_is_greyed(browser):
    with page(busy()) as where:
        shown = browser.open(f"http://{where}/")
        shown.until("document.querySelectorAll('li').length === 3")
    with shown:
        shown.until("!document.querySelector('#silent').hidden")
        assert "has not answered since" in shown.text()
        assert "no answer" in shown.run("document.title")
        assert shown.run("document.body.classList.contains('silent')")
