"""dcmtx moves DICOM files from one transfer syntax to another, and proves that no pixel was harmed.

    >>> import dcmtx
    >>> outcome = dcmtx.transcode("ct-explicit.dcm", "ct-jls.dcm", to="jpegls")
    >>> outcome.status.value, outcome.frames, outcome.bytes_out < outcome.bytes_in
    ('converted', 1, True)
    >>> try:
    ...     dcmtx.transcode("ct-explicit.dcm", "ct.dcm", to="j2k", ratio=20)
    ... except dcmtx.RefusedError as error:
    ...     print(error.code, error.status.name, error.what, error.advice, sep=" | ")
    E_LOSSY | REFUSED | --ratio would lose information | say --lossy to consent

The public names are those of `__all__`. Each is loaded when it is used.

The house, from the ground up. A room imports from those above it in this list, never from those below it;
tests/test_layers.py walks all imports.

    errors        exceptions, and the exit statuses
    record        the base of all records
    syntax        transfer syntaxes as rows of data
    policy        what may be chosen: enumerations, coding parameters, the policy made of them
    options       all that may be asked for, in one table: names, ranges, defaults, help
    commands      the names of the commands, and where each is
    finding       what is told of a file beside its pixels
    signals       what ends the program
    place/        where bytes come from and where they go
    dataset/      the data set as bytes: File Meta Information, index, edits, encodings
    pixel/        frames, encapsulation, colours, bits, codestream headers; never a data set
    device/       a process that owns a GPU, and its clients
    codec/        the registries of decoders and encoders, and a file per family of codecs
    rules/        what the standard says, as pure functions: a header in, edits and notes out
    planning/     a header and a request become a plan, before any pixel moves
    pool/         processes that do jobs
    transcoding/  one file through its plan: source, frames, writer
    batch/        many files; a wing, which imports no other
    serve/        the resident server and its client; a wing
    inspect/      looks at files, compares them, shows them; changes nothing; a wing
    cluster/      a plan of shards, and what converts one, on any machine; alone in knowing distributed; a wing
    peers/        the words of other converters, as tables; a wing
    series/       many instances into one, one into many, and a part of one; a wing
    relay/        receives over the network, transcodes, forwards; a wing, alone in knowing pynetdicom and httpx
    cli/          one file per command; alone in knowing click and rich

The way of one file: arguments become a Job; its source is opened; header and request become a Plan, which may refuse;
frames are decoded, changed, encoded and verified; the writer puts elements and frames into a sink, which replaces the
destination when all is well; the Outcome says what was done.

To add

    an option   a row of the table in dcmtx/options.py, a field of EncodingParameters or Policy, a keyword of `job`
                and `transcode` in dcmtx/transcoding/ and of its options.py;
                tests/test_policy.py compares all of them
    a codec     a function in a file of dcmtx/codec/, a row in dcmtx/codec/table.py (or in another distribution, by
                entry point: dcmtx/codec/plugins.py); tests/test_registry.py checks rows, tests/test_matrix.py runs
                each of them against other libraries
    a rule      a pure function in dcmtx/rules/, called by the file of dcmtx/planning/ that it concerns; the decision
                table of tests/test_decisions.py is the specification
    a route     a member of Route in dcmtx/planning/routes.py, chosen by dcmtx/planning/planner.py, and what it does to
                a frame in dcmtx/transcoding/routes.py; tests/test_decisions.py and tests/test_announced.py
    a place     a module in dcmtx/place/, and a row of SCHEMES in dcmtx/place/places.py; tests/test_places.py
    a command   a file of dcmtx/cli/, a line of COMMANDS in dcmtx/cli/__init__.py; tests/test_cli.py, and
                tests/test_man.py after `python man/make.py`
"""

# Every call of the command loads this first: what type checkers want is not imported, not even `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from dcmtx._version import __version__ as __version__
    from dcmtx.batch.many import Skipped as Skipped
    from dcmtx.batch.many import convert_many as convert_many
    from dcmtx.codec.listing import syntaxes as syntaxes
    from dcmtx.errors import CodecError as CodecError
    from dcmtx.errors import DcmtxError as DcmtxError
    from dcmtx.errors import ExitStatus as ExitStatus
    from dcmtx.errors import InputError as InputError
    from dcmtx.errors import OutputError as OutputError
    from dcmtx.errors import RefusedError as RefusedError
    from dcmtx.errors import UnsupportedError as UnsupportedError
    from dcmtx.errors import UsageError as UsageError
    from dcmtx.errors import VerifyError as VerifyError
    from dcmtx.finding import Finding as Finding
    from dcmtx.finding import Severity as Severity
    from dcmtx.inspect.compare import Comparison as Comparison
    from dcmtx.inspect.compare import compare as compare
    from dcmtx.inspect.info import Info as Info
    from dcmtx.inspect.info import look as look
    from dcmtx.inspect.render import render as render
    from dcmtx.planning.plan import Plan as Plan
    from dcmtx.transcoding.api import plan as plan
    from dcmtx.transcoding.decode import frames as frames
    from dcmtx.transcoding.form import job_from_json as job_from_json
    from dcmtx.transcoding.job import Job as Job
    from dcmtx.transcoding.job import Outcome as Outcome
    from dcmtx.transcoding.job import Status as Status
    from dcmtx.transcoding.pydicom_dataset import transcode_dataset as transcode_dataset
    from dcmtx.transcoding.transcode import transcode as transcode

__all__ = [
    "CodecError",
    "Comparison",
    "DcmtxError",
    "ExitStatus",
    "Finding",
    "Info",
    "InputError",
    "Job",
    "Outcome",
    "OutputError",
    "Plan",
    "RefusedError",
    "Severity",
    "Skipped",
    "Status",
    "UnsupportedError",
    "UsageError",
    "VerifyError",
    "__version__",
    "compare",
    "convert_many",
    "frames",
    "job_from_json",
    "look",
    "plan",
    "render",
    "syntaxes",
    "transcode",
    "transcode_dataset",
]

# A public name, and the module that it is loaded from.
_HOMES = {
    "CodecError": "dcmtx.errors",
    "Comparison": "dcmtx.inspect.compare",
    "Info": "dcmtx.inspect.info",
    "compare": "dcmtx.inspect.compare",
    "look": "dcmtx.inspect.info",
    "render": "dcmtx.inspect.render",
    "DcmtxError": "dcmtx.errors",
    "ExitStatus": "dcmtx.errors",
    "Finding": "dcmtx.finding",
    "Severity": "dcmtx.finding",
    "Skipped": "dcmtx.batch.many",
    "InputError": "dcmtx.errors",
    "Job": "dcmtx.transcoding.job",
    "Outcome": "dcmtx.transcoding.job",
    "OutputError": "dcmtx.errors",
    "Plan": "dcmtx.planning.plan",
    "RefusedError": "dcmtx.errors",
    "Status": "dcmtx.transcoding.job",
    "UnsupportedError": "dcmtx.errors",
    "UsageError": "dcmtx.errors",
    "VerifyError": "dcmtx.errors",
    "__version__": "dcmtx._version",
    "syntaxes": "dcmtx.codec.listing",
    "convert_many": "dcmtx.batch.many",
    "frames": "dcmtx.transcoding.decode",
    "job_from_json": "dcmtx.transcoding.form",
    "plan": "dcmtx.transcoding.api",
    "transcode": "dcmtx.transcoding.transcode",
    "transcode_dataset": "dcmtx.transcoding.pydicom_dataset",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name in _HOMES:
        import importlib

        value: object = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dcmtx' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is public too, though it is not loaded yet."""
    return sorted({*globals(), *__all__})
