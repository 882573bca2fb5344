"""The exception tree: statuses, codes, what an error says, and that a worker process can send it."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from conftest import ROOT

import dcmtx
from dcmtx import __main__ as main
from dcmtx import errors
from dcmtx.errors import DcmtxError, ExitStatus
from dcmtx.serve import client

# Exit statuses are a promise to scripts: written here again, not read from the code.
TREE = [
    ("DcmtxError", 1, "E_BUG"),
    ("UsageError", 2, "E_USAGE"),
    ("InputError", 3, "E_INPUT"),
    ("UnsupportedError", 4, "E_UNSUPPORTED"),
    ("RefusedError", 5, "E_REFUSED"),
    ("CodecError", 6, "E_CODEC"),
    ("VerifyError", 7, "E_VERIFY"),
    ("OutputError", 8, "E_OUTPUT"),
]
KINDS = [getattr(errors, name) for name, _, _ in TREE]


@pytest.mark.parametrize(("name", "status", "code"), TREE, ids=[name for name, _, _ in TREE])
def test_every_class_has_its_status_and_code(name, status, code):
    kind = getattr(errors, name)
    assert issubclass(kind, DcmtxError)
    assert kind.status == status
    assert kind("what is wrong").status == status
    assert kind("what is wrong").code == code
    assert kind("what is wrong", code="E_OTHER").code == "E_OTHER"


def test_the_tree_is_complete_and_flat():
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(KINDS)
    assert all(kind.__bases__ == (DcmtxError,) for kind in KINDS[1:])
    assert len({kind.status for kind in KINDS}) == len(KINDS)


def test_the_tree_in_the_documentation_of_the_module_is_the_tree():
    for name, status, _ in TREE:
        (line,) = [line for line in errors.__doc__.splitlines() if f"{name} " in line]
        assert line.split(name)[1].split()[0] == str(status)


def test_an_error_keeps_what_it_happened_to():
    error = errors.InputError("cut off", code="E_TRUNCATED", path="a.dcm", frame=4, tag=0x7FE00010)
    assert (error.message, error.code, error.path, error.frame, error.tag) == (
        "cut off", "E_TRUNCATED", "a.dcm", 4, 0x7FE00010,
    )  # fmt: skip
    bare = errors.InputError("cut off")
    assert (bare.path, bare.frame, bare.tag) == (None, None, None)


@pytest.mark.parametrize(
    ("frame", "text"), [(None, "cut off"), (0, "frame 1: cut off"), (41, "frame 42: cut off")],
    ids=["no frame", "first frame", "frame 42"],
)  # fmt: skip
def test_frames_are_numbered_from_one_in_text(frame, text):
    assert str(errors.CodecError("cut off", frame=frame)) == text


def test_a_message_is_what_is_wrong_and_what_to_do():
    bare, advised = errors.RefusedError("no"), errors.RefusedError("no", advice="use --to rle", frame=1)
    assert (bare.what, bare.advice, bare.message, str(bare)) == ("no", "", "no", "no")
    assert (advised.what, advised.advice, advised.message) == ("no", "use --to rle", "no; use --to rle")
    assert (advised.reason, str(advised)) == ("frame 2: no", "frame 2: no; use --to rle")


def test_advice_that_is_added_later_is_shown_and_sent():
    error = errors.RefusedError("no")
    error.advise("")
    assert str(error) == "no"
    error.advise("use --to rle")
    assert str(error) == "no; use --to rle"
    error.advise("or none")
    assert str(pickle.loads(pickle.dumps(error))) == "no; use --to rle; or none"


def test_nobody_takes_messages_apart_or_sticks_them_together():
    # At a semicolon, which parts what is wrong from what to do. A library's message may be cut at a line's end.
    pattern = re.compile(r"""\.(split|partition|rpartition|removesuffix)\(["'][^"']*;|\.(message|what) \+= """)
    for path in sorted((ROOT / "dcmtx").rglob("*.py")):
        assert not pattern.findall(path.read_text("utf-8")), path.name


# What advice begins with: it has a place of its own.
_DO = (
    "use",
    "correct",
    "say",
    "try",
    "free",
    "name",
    "choose",
    "give",
    "leave",
    "ask",
    "pip",
    "fetch",
    "remove",
    "make",
)


def test_advice_is_given_as_advice():
    kinds = {kind.__name__ for kind in KINDS}
    for path in sorted((ROOT / "dcmtx").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in kinds and node.args:
                parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                for tail in "".join(map(str, parts)).split("; ")[1:]:
                    assert not tail.startswith(tuple(f"{verb} " for verb in _DO)), f"{path.name}:{node.lineno}"


# --- exit statuses -------------------------------------------------------------------------------------------------


def test_the_exit_statuses():
    assert [(status.name, int(status)) for status in ExitStatus] == [
        ("OK", 0), ("BUG", 1), ("USAGE", 2), ("INPUT", 3), ("UNSUPPORTED", 4), ("REFUSED", 5), ("CODEC", 6),
        ("VERIFY", 7), ("OUTPUT", 8), ("SEVERAL", 9), ("HANGUP", 129), ("INTERRUPTED", 130), ("TERMINATED", 143),
    ]  # fmt: skip
    assert len({status.description for status in ExitStatus}) == len(ExitStatus)
    for status in ExitStatus:
        assert status.description
        assert pickle.loads(pickle.dumps(status)) is status
    assert (str(ExitStatus.SEVERAL), json.dumps(ExitStatus.SEVERAL)) == ("9", "9")


def test_modules_that_may_not_load_the_statuses_have_the_same_numbers():
    assert main._INTERRUPTED == client._INTERRUPTED == ExitStatus.INTERRUPTED
    assert client._LOST == ExitStatus.CODEC
    for number, status in (
        (signal.SIGHUP, ExitStatus.HANGUP),
        (signal.SIGINT, ExitStatus.INTERRUPTED),
        (signal.SIGTERM, ExitStatus.TERMINATED),
    ):
        assert 128 + number == status


def test_statuses_are_written_once():
    """But for the numbers that the modules above have: elsewhere they go by name. A pool's processes have their own."""
    for path in sorted((ROOT / "dcmtx").rglob("*.py")):
        if path.parent.name == "pool":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and type(node.value.value) is int:
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                assert "status" not in names, f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os._exit", "sys.exit"):
                assert not isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


# --- between processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("send", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
                         ids=["pickled", "copied", "copied deep"])  # fmt: skip
def test_an_error_arrives_as_it_was_sent(kind, send):
    error = kind("wrong", advice="do right", code="E_X", path="/a/b", frame=0, tag=0x00280010)
    back = send(error)
    assert type(back) is kind
    assert vars(back) == vars(error)
    assert str(back) == str(error)


def _fail(number: int) -> None:
    raise errors.VerifyError("differs", code="E_ONE", path="p", frame=number, tag=1)


def test_a_worker_process_sends_its_error_whole():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(_fail, 6).exception(timeout=60)
    assert type(error) is errors.VerifyError
    assert (str(error), error.code, error.path, error.tag) == ("frame 7: differs", "E_ONE", "p", 1)


def test_the_base_of_the_tree_is_a_public_name():
    assert dcmtx.DcmtxError is DcmtxError
