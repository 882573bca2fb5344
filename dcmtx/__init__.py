"""dcmtx moves DICOM files from one transfer syntax to another, and proves that no pixel was harmed.

    import dcmtx
    outcome = dcmtx.transcode("ct.dcm", "ct-jls.dcm", to="jpegls")

The public names are loaded when they are used.
"""

# Every call of the command loads this first: what type checkers want is not imported, not even `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from dcmtx._version import __version__ as __version__
    from dcmtx.errors import DcmtxError as DcmtxError
    from dcmtx.transcoding.api import plan as plan
    from dcmtx.transcoding.decode import frames as frames
    from dcmtx.transcoding.form import job_from_json as job_from_json
    from dcmtx.transcoding.job import Job as Job
    from dcmtx.transcoding.job import Outcome as Outcome
    from dcmtx.transcoding.job import transcode as transcode
    from dcmtx.transcoding.pydicom_dataset import transcode_dataset as transcode_dataset

__all__ = [
    "DcmtxError",
    "Job",
    "Outcome",
    "__version__",
    "frames",
    "job_from_json",
    "plan",
    "transcode",
    "transcode_dataset",
]

_HOMES = {
    "DcmtxError": "dcmtx.errors",
    "Job": "dcmtx.transcoding.job",
    "Outcome": "dcmtx.transcoding.job",
    "__version__": "dcmtx._version",
    "frames": "dcmtx.transcoding.decode",
    "job_from_json": "dcmtx.transcoding.form",
    "plan": "dcmtx.transcoding.api",
    "transcode": "dcmtx.transcoding.job",
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
