"""The exception tree: statuses, codes, what an error says, and that a worker process can send it."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import dcmtx
from dcmtx import errors
from dcmtx.errors import DcmtxError

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


def test_a_message_extended_later_is_what_is_shown():
    error = errors.RefusedError("no")
    error.message += "; use --to rle"
    assert str(error) == "no; use --to rle"
    assert str(pickle.loads(pickle.dumps(error))) == "no; use --to rle"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("send", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
                         ids=["pickled", "copied", "copied deep"])  # fmt: skip
def test_an_error_arrives_as_it_was_sent(kind, send):
    error = kind("wrong; do right", code="E_X", path="/a/b", frame=0, tag=0x00280010)
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
