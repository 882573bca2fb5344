"""The vocabulary: the command line, the library and the man pages say what it says, of every option."""

from __future__ import annotations

import inspect
import re
import typing
from enum import Enum

import click
import numpy as np
import pytest
from conftest import ROOT

from dcmtx.cli.convert import convert
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import UsageError
from dcmtx.options import LOSSY_PARAMETERS, OPTIONS, Group, Kind, Option, make_policy, option_name
from dcmtx.policy import EncodingParameters, Icon, Policy, Uid, Verify
from dcmtx.syntax import BY_UID, Loss
from dcmtx.transcoding.job import job
from dcmtx.transcoding.options import Options
from dcmtx.transcoding.transcode import transcode

each_option = pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
ROWS = [row for uid in BY_UID for row in ENCODERS.rows(uid)]
PARAMS = {flag: param for param in convert.params for flag in (*param.opts, *param.secondary_opts)}
# What the command line has beside: how it speaks, where files are, and words for targets.
SPEECH = {"cluster", "run", "like", "progress", "as_json", "report", "quiet", "verbose", "paths", "source", "named"}
SHOWN = [option for option in OPTIONS.values() if option.group is not Group.LIBRARY]
each_shown = pytest.mark.parametrize("option", SHOWN, ids=lambda option: option.name)


def names(*groups: Group) -> set[str]:
    return {name for name, option in OPTIONS.items() if option.group in groups}


# --- the command line ----------------------------------------------------------------------------------------------


@each_shown
def test_the_command_line_has_it_as_it_is_here(option):
    param = PARAMS[option.flag]
    assert param.help == option.describe()
    assert param.multiple == option.several
    assert param.is_flag == (option.kind is Kind.FLAG)
    if option.kind is Kind.CHOICE:
        assert tuple(param.type.choices) == option.words
    if option.kind in (Kind.WHOLE, Kind.NUMBER):
        assert isinstance(param.type, click.IntRange if option.kind is Kind.WHOLE else click.FloatRange)
        assert (param.type.min, param.type.max) == (option.least, option.most)
    if isinstance(option.default, Enum):
        assert param.default == option.default.value
        assert param.show_default


def test_the_command_line_has_no_other():
    mine = {param.name for option in SHOWN for param in [PARAMS[option.flag]]}
    mine |= {f"no_{option.name}" for option in SHOWN if option.denied}
    others = {param.name for param in convert.params if not param.name.startswith("word_")} - mine
    assert others == SPEECH


# --- the library ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [job, transcode], ids=["job", "transcode"])
def test_the_library_has_the_keywords_and_defaults(function):
    keywords = {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert keywords == {name: option.default for name, option in OPTIONS.items() if option.group is not Group.BATCH}


def test_the_type_of_the_options_has_the_keywords():
    keywords = {name for name, option in OPTIONS.items() if option.group not in (Group.BATCH, Group.TARGET)}
    assert set(Options.__annotations__) == keywords
    hints, its = typing.get_type_hints(Options), typing.get_type_hints(job)
    assert hints == {name: its[name] for name in hints}


@pytest.mark.parametrize(
    ("record", "groups", "beside"),
    [
        pytest.param(EncodingParameters, (Group.LOSS, Group.CODING), set(), id="parameters"),
        pytest.param(Policy, (Group.RULE, Group.CARE), {"created"}, id="policy"),
    ],
)
def test_the_records_have_the_fields_and_defaults(record, groups, beside):
    fields = {name: value for name, value in record().items() if name not in beside}
    assert fields == {name: OPTIONS[name].default for name in names(*groups)}


@pytest.mark.parametrize("name", sorted(names(Group.LOSS, Group.CODING) - {"lossy"}))
def test_a_parameter_belongs_to_the_families_whose_encoders_take_it(name):
    taken = {BY_UID[uid].family for row in ROWS for uid in row.syntaxes if name in row.options}
    assert taken == set(OPTIONS[name].families)
    for row in ROWS:
        if name in row.options and name in LOSSY_PARAMETERS:
            assert row.lossy
            assert all(BY_UID[uid].loss in (Loss.LOSSY, Loss.BOTH) for uid in row.syntaxes)


# --- the man page --------------------------------------------------------------------------------------------------


@each_shown
def test_the_man_page_has_it(option):
    roff = (ROOT / "man" / "dcmtx-convert.1").read_text("ascii")
    page = re.sub(r"\\f[BIR]|\\&", "", roff).replace("\\-", "-")
    entry = re.search(rf"^\.TP\n(.*, )?{option.flag}\b.*\n(.*)$", page, re.MULTILINE)
    assert entry, option.flag
    assert option.help.replace("`", "") in entry[2]
    assert option.otherwise in entry[2]


# --- the table itself ----------------------------------------------------------------------------------------------


@each_option
def test_a_choice_that_is_the_default_is_the_first(option):
    assert option.name.isidentifier()
    assert option.help.endswith(".")
    if option.kind is Kind.CHOICE and isinstance(option.choices, type):
        assert next(iter(option.choices)) is option.default


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        pytest.param("uid", "keep", Uid.KEEP, id="a choice as it is written"),
        pytest.param("uid", Uid.NEW, Uid.NEW, id="a choice as it is"),
        pytest.param("progression", "RLCP", "RLCP", id="a choice that is a text"),
        pytest.param("quality", 1, 1, id="the least"),
        pytest.param("quality", 100, 100, id="the most"),
        pytest.param("ratio", 2, 2, id="a whole number for a number"),
        pytest.param("ratio", 2.5, 2.5, id="a number"),
        pytest.param("workers", 10**6, 10**6, id="without an end"),
        pytest.param("quality", np.int64(7), np.int64(7), id="a whole number of NumPy's"),
        pytest.param("psnr", np.float32(40), np.float32(40), id="a number of NumPy's"),
        pytest.param("quality", None, None, id="nothing"),
    ],
)
def test_a_value_that_is_taken(name, value, result):
    assert OPTIONS[name].checked(value) == result
    assert type(OPTIONS[name].checked(value)) is type(result)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("uid", "other", "--uid is 'other', not one of auto, keep, new"),
        ("uid", Icon.DROP, f"--uid is {Icon.DROP!r}, not one of auto, keep, new"),
        ("subsampling", "411", "--subsampling is '411', not one of 444, 422, 420"),
        ("subsampling", ["444"], "--subsampling is ['444'], not one of 444, 422, 420"),
        ("quality", 0, "--quality is 0, not in the range from 1 to 100"),
        ("quality", 101, "--quality is 101, not in the range from 1 to 100"),
        ("quality", 90.0, "--quality is 90.0, not a whole number"),
        ("quality", "90", "--quality is '90', not a whole number"),
        ("quality", True, "--quality is True, not a whole number"),
        ("ratio", float("nan"), "--ratio is nan, not in the range from 1 to 10000"),
        ("code_block", 2, "--code-block is 2, not in the range from 4 to 64"),
        ("workers", 0, "--jobs is 0, not 1 or more"),
    ],
)
def test_a_value_that_is_not_taken(name, value, message):
    with pytest.raises(UsageError) as caught:
        OPTIONS[name].checked(value)
    assert str(caught.value) == message


def test_a_policy_is_made_of_what_is_written():
    assert make_policy(7.0, uid="keep", verify=False) == Policy(uid=Uid.KEEP, verify=Verify.NONE, created=7.0)
    with pytest.raises(UsageError):
        make_policy(0.0, icon="none")


def test_messages_call_options_as_the_command_line_does():
    assert [option_name(name) for name in ("code_block", "quality", "tile")] == ["--code-block", "--quality", "--tile"]
    assert OPTIONS["clobber"].flag == "--no-clobber"
    assert OPTIONS["verify"].flag == "--verify"
    assert Option("a_b", Group.WORK, "Help.").flag == "--a-b"
