"""The house's rules that no type checker knows: who imports whom, what starts without what, and who may speak."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import dicom
import numpy as np
import pytest
from conftest import ROOT

from dcmtx.commands import COMMANDS

PACKAGE = ROOT / "dcmtx"

# From the ground up: a room imports from rooms before it, and within itself. A new room is added where it belongs.
ROOMS = [
    "ground",  # errors, record, syntax, policy, options, commands, finding: the vocabulary
    "place",
    "dataset",
    "pixel",
    "device",
    "codec",
    "rules",
    "planning",
    "pool",
    "transcoding",
    "wing",  # side by side: none imports another
    "cli",
]
GROUND = {"_version", "errors", "record", "syntax", "policy", "options", "finding", "signals", "commands"}
WINGS = {"batch", "cluster", "inspect", "serve", "peers", "relay", "series"}

# Libraries, and the rooms that may import them. What is in none of these sets is the standard library or forbidden.
LIBRARIES = {
    # By the modules for data sets and character sets, and the relay; its dictionary is loaded alone, by dataset.vr.
    "pydicom": {"transcoding", "rules", "wing"},
    "click": {"cli"},
    "rich": {"cli"},
    "numpy": {"pixel", "device", "codec", "transcoding"},
    "isal": {"codec", "place"},
    **{library: {"wing"} for library in ("pynetdicom", "prometheus_client", "httpx")},  # of the relay alone, see below
    "matplotlib": {"wing"},
    "pyarrow": {"place"},
    "tifffile": {"codec"},
    "zstandard": {"place"},
    "obstore": {"place"},
    "distributed": {"wing"},
    **{backend: {"codec"} for backend in ("imagecodecs", "libjpeg", "openjpeg", "rle", "jpeg_ls", "_CharLS", "ojph")},
}
# Modules of rooms with NumPy that do without it: the ones that every start needs.
WITHOUT_NUMPY = {"pixel.format", "pixel.encapsulation", "codec.registry", "codec.table", "codec.search"}
# What may not be reached even through others: the pure from what reads and codes, everybody from the front.
UNREACHABLE = [
    ("rules", "codec"), ("rules", "transcoding"), ("rules", "numpy"), ("pixel", "dataset"), ("pixel", "place"),
    ("codec", "dataset"), ("codec", "place"), ("codec", "rules"), ("pool", "codec"), ("pool", "transcoding"),
    ("place", "dataset"), ("ground", "numpy"),
]  # fmt: skip


def room_of(name: str) -> str:
    """Return the room of a module, by its name below the package."""
    top = name.partition(".")[0]
    return "ground" if top in GROUND else "wing" if top in WINGS else top


class Module:
    """One module of dcmtx: its name below the package, its room, and what it imports, wherever in it."""

    def __init__(self, path: Path) -> None:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        self.name = ".".join(part for part in parts if part != "__init__")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.room = room_of(self.name)
        self.imports = sorted(set(self._imports()))

    def _imports(self):
        """Yield the modules that are imported; of a package, its module where that is what is meant."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, "relative import"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if is_module(inner) else node.module

    @property
    def inside(self) -> list[str]:
        """The modules of dcmtx that it imports, below the package."""
        return [name.removeprefix("dcmtx.") for name in self.imports if name.startswith("dcmtx.")]

    @property
    def libraries(self) -> set[str]:
        """The libraries that it imports, neither dcmtx nor standard."""
        tops = {name.partition(".")[0] for name in self.imports} - {"dcmtx"}
        return tops - set(sys.stdlib_module_names)


def is_module(name: str) -> bool:
    """Tell whether a dotted name is a module of the package."""
    path = ROOT.joinpath(*name.split("."))
    return name.startswith("dcmtx.") and (path.is_dir() or path.with_suffix(".py").is_file())


MODULES = [Module(path) for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem[:2] != "__"]
BY_NAME = {module.name: module for module in MODULES}
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


# --- imports -------------------------------------------------------------------------------------------------------


@each_module
def test_imports_point_down(module):
    assert module.room in ROOMS, "give this module a place in the house, or a room to it"
    for name in module.inside:
        there = room_of(name)
        assert there in ROOMS
        below = ROOMS.index(there) < ROOMS.index(module.room)
        same = name.partition(".")[0] == module.name.partition(".")[0] or there == module.room == "ground"
        assert below or same, f"{module.name} imports {name}"


def reached(module: Module) -> set[str]:
    """Return everything that a module imports, and that those import, as deep as it goes: modules and libraries."""
    found: set[str] = set()
    pending = [module.name]
    while pending:
        here = BY_NAME.get(pending.pop())
        if here is None:
            continue
        found |= here.libraries
        new = set(here.inside) - found
        found |= new
        pending += new
    return found


@pytest.mark.parametrize(("room", "other"), UNREACHABLE, ids=lambda name: name)
def test_a_room_does_not_reach_another_even_through_others(room, other):
    for module in MODULES:
        if module.room == room:
            there = {name for name in reached(module) if name == other or ("." in name or name in GROUND)}
            assert not {name for name in there if name == other or room_of(name) == other}, module.name


def test_no_modules_import_one_another_in_a_circle():
    for module in MODULES:
        assert module.name not in reached_at_import(module), module.name


def reached_at_import(module: Module) -> set[str]:
    """Return what is imported when a module is, as deep as it goes."""
    found: set[str] = set()
    pending = [module]
    while pending:
        here = pending.pop()
        for name in here.inside:
            if name in found or f"dcmtx.{name}" not in at_import(here):
                continue
            found.add(name)
            if name in BY_NAME:
                pending.append(BY_NAME[name])
    return found


@each_module
def test_libraries_are_imported_where_they_belong(module):
    for library in module.libraries:
        assert library in LIBRARIES, f"{module.name} imports {library}, of which this test knows nothing"
        assert module.room in LIBRARIES[library], f"{module.name} imports {library}"
    if module.name in WITHOUT_NUMPY or module.name.startswith("pixel.codestream"):
        assert "numpy" not in module.libraries


def test_the_ground_floor_is_the_standard_library():
    ground = [module for module in MODULES if module.room == "ground"]
    for module in ground:
        assert not module.libraries
        assert {room_of(name) for name in module.inside} <= {"ground"}


def test_pydicom_is_imported_by_the_modules_for_its_data_sets_and_character_sets_and_the_relay_alone():
    names = [module.name for module in MODULES if "pydicom" in module.libraries]
    assert [name for name in names if not name.startswith("relay.")] == ["rules.charset", "transcoding.pydicom_dataset"]
    assert not [module.name for module in MODULES if "pydicom" in at_import(module)]
    assert not [other.name for other in MODULES if "transcoding.pydicom_dataset" in other.inside]


def at_import(module: Module) -> set[str]:
    """Return what a module imports when it is imported itself: not in functions, not for the type checker."""
    found = set()
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def test_libraries_of_the_network_are_imported_by_the_relay_alone():
    users = {module.name for module in MODULES if module.libraries & {"pynetdicom", "prometheus_client", "httpx"}}
    assert not [name for name in users if not name.startswith("relay.")]


def test_codecs_import_their_libraries_when_they_are_called():
    for module in MODULES:
        if module.room == "codec":
            assert {name.partition(".")[0] for name in at_import(module)} & set(LIBRARIES) <= {"numpy"}, module.name


def test_commands_are_loaded_when_they_are_called():
    (group,) = [module for module in MODULES if module.name == "cli"]
    assert not [name for name in group.inside if name.startswith("cli.")]
    homes = {target.partition(":")[0].removeprefix("dcmtx.") for target, _ in COMMANDS.values()}
    for module in MODULES:
        if module.name in {"cli", *homes}:
            heavy = {name for name in at_import(module) if name.startswith(("dcmtx.transcoding", "dcmtx.planning"))}
            assert not heavy | ({"dcmtx.batch.report", "rich"} & at_import(module)), module.name


def test_the_server_is_reached_from_its_commands_alone_and_reaches_no_other_wing():
    for module in MODULES:
        if any(name.startswith("serve") for name in module.inside) and not module.name.startswith("serve"):
            assert module.name in {"cli.serve", "cli.hook"}
    (client,) = [module for module in MODULES if module.name == "serve.client"]
    # Wherever in it: every call of dcmtx waits for these.
    assert set(client.imports) <= {"os", "sys", "_signal", "_socket", "dcmtx._version"}


def test_no_room_is_called_after_nothing_in_particular():
    for module in MODULES:
        assert not {"utils", "util", "common", "helper", "helpers", "manager", "handler", "misc"} & set(
            module.name.split(".")
        )


# --- who may speak ---------------------------------------------------------------------------------------------

FORBIDDEN_CALLS = {"print", "input", "exit", "quit", "breakpoint"}
FORBIDDEN_ATTRIBUTES = {
    ("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("os", "environ"), ("os", "environb"), ("os", "getenv"),
    ("os", "putenv"), ("sys", "argv"), ("sys", "stderr"), ("signal", "signal"),
}  # fmt: skip


@each_module
def test_nothing_below_the_front_prints_exits_or_reads_the_environment(module):
    # A process of a pool or of a device is its own master, as a server is: it answers signals and ends itself.
    masters = {"signals", "relay.daemon"}
    if module.room in {"cli", "pool", "device"} or module.name in masters or module.name.startswith("serve"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{module.name}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in FORBIDDEN_ATTRIBUTES, f"{module.name}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "sys"):
            assert not {alias.name for alias in node.names} & {name for _, name in FORBIDDEN_ATTRIBUTES}
        if isinstance(node, ast.Name):
            assert node.id != "SystemExit", f"{module.name}:{node.lineno}"


def test_standard_output_and_input_are_touched_where_files_are_opened_only():
    users = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys"
        if node.attr in ("stdout", "stdin") and module.room != "cli"
    }
    # A job of the server's makes them anew.
    assert users <= {"place.bytes", "place.stream", "place.atomic", "serve.job"}


# --- what starts without what ------------------------------------------------------------------------------------


def imports_of(program: str, *arguments: str, status: int = 0, **options) -> list[str]:
    """Run a program in a Python of its own; return what was imported after the interpreter's own start, in order."""
    ran = subprocess.run([sys.executable, "-X", "importtime", "-c", program, *arguments],
                         capture_output=True, text=True, timeout=60, check=False, **options)  # fmt: skip
    assert ran.returncode == status, ran.stderr
    names = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return names[names.index("site") + 1 :]


ENTRY = "from dcmtx.__main__ import main; main()"


def test_what_a_server_does_is_handed_over_by_four_small_modules(tmp_path):
    """Against a server of four lines, which says go and then the status: nobody converts anything."""
    directory = tempfile.mkdtemp(prefix="s")
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            mask = os.umask(0o177)
            listening.bind(f"{directory}/s")
            os.umask(mask)
            listening.listen()
            served: list[bytes] = []

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    served.append(connection.recv(200))
                    connection.sendall(b"+")
                    served.append(connection.recv(1 << 16))
                    connection.sendall(b"\x05")

            thread = threading.Thread(target=serve)
            thread.start()
            environment = os.environ | {"DCMTX_SOCKET": f"{directory}/s"}
            imported = imports_of(ENTRY, "a.dcm", "b.dcm", "--raw", status=5, env=environment, cwd=tmp_path)
            thread.join()
    finally:
        shutil.rmtree(directory)
    # Some Pythons import more for `-c` itself.
    assert set(imported) - set(imports_of("pass")) <= {
        "dcmtx",
        "dcmtx.__main__",
        "dcmtx._version",
        "dcmtx.serve",
        "dcmtx.serve.client",
        "_socket",
    }
    assert served[0].startswith(b"dcmtx ")
    assert served[1].endswith(b"\0a.dcm\0b.dcm\0--raw\0")


def test_without_a_server_the_rest_is_loaded_and_no_server(tmp_path):
    for path in ("", str(tmp_path / "absent")):
        imported = imports_of(ENTRY, "--version", env=os.environ | {"DCMTX_SOCKET": path})
        assert "click" in imported
        assert not {name for name in imported if name.startswith("dcmtx.serve.")} - {"dcmtx.serve.client"}


def test_the_package_costs_nothing():
    baseline = imports_of("pass")
    assert [name for name in imports_of("import dcmtx") if name not in baseline] == ["dcmtx"]


WATCHED = ["numpy", "pydicom", "imagecodecs", "jpeg_ls", "_CharLS", "openjpeg", "libjpeg", "rle", "rich", "asyncio",
           "concurrent.futures", "multiprocessing", "tempfile", "dcmtx.transcoding.job",
           "dcmtx.place.stream", "dcmtx.place.memory", "dcmtx.place.deflate",
           "dcmtx.transcoding.icons"]  # fmt: skip
PROGRAM = f"""
import json, sys
from dcmtx.cli import main
try:
    main()
finally:
    sys.stderr.write("\\n" + json.dumps([name for name in {WATCHED!r} if name in sys.modules]))
"""


def run(*arguments: object, status: int = 0) -> set[str]:
    """Run the command line in a process of its own; return which of the watched modules it has imported."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == status, ran.stderr
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pixels = np.arange(64, dtype="<u2").tobytes()
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom.Image(pixels, 8, 8, stored=12).encode())
    return path


OTHER_PLACES = {"dcmtx.place.stream", "dcmtx.place.memory", "dcmtx.place.deflate", "tempfile"}
HEAVY = {"numpy", "pydicom", "imagecodecs", "rich", "asyncio", "multiprocessing", "concurrent.futures"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0), (["--version"], 0), (["convert", "--help"], 0), ([], 2), (["convert"], 2), (["a.dcm"], 2),
        (["a.dcm", "b.dcm"], 2), (["a.dcm", "b.dcm", "--to", "jpegls", "--raw"], 2), (["a.dcm", "b.dcm",
                                                                                       "--no-such"], 2),
    ],
    ids=["help", "version", "help of convert", "nothing", "convert alone", "one file", "no target", "two targets",
         "an unknown option"],
)  # fmt: skip
def test_help_and_usage_errors_import_nothing_that_converts(arguments, status):
    imported = run(*arguments, status=status)
    assert not imported & HEAVY
    assert "dcmtx.transcoding.job" not in imported


def test_an_unknown_target_imports_nothing_heavy(tmp_path):
    assert not run("a.dcm", tmp_path / "b.dcm", "--to", "nothing", status=2) & HEAVY


def test_a_missing_file_imports_nothing_heavy(tmp_path):
    assert not run(tmp_path / "absent.dcm", tmp_path / "b.dcm", "--to", "jpegls", status=3) & HEAVY


def test_a_file_in_the_target_syntax_is_copied_without_anything_heavy(source, tmp_path):
    for target in ("--explicit", "--raw"):
        imported = run(source, tmp_path / "out.dcm", target)
        assert (tmp_path / "out.dcm").read_bytes() == source.read_bytes()
        assert not imported & (HEAVY | OTHER_PLACES)


@pytest.mark.parametrize("options", [(), ("--json",), ("--strict",)], ids=lambda words: " ".join(words) or "plain")
def test_looking_at_files_needs_no_codec(options, source):
    assert not run("info", *options, source, ROOT / "testdata") & HEAVY


def test_explicit_to_jpeg_ls_needs_no_pydicom(source, tmp_path):
    imported = run(source, tmp_path / "out.dcm", "--jpegls")
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.JPEGLS
    assert "numpy" in imported
    assert not imported & {
        "pydicom",
        "rich",
        "asyncio",
        "multiprocessing",
        "openjpeg",
        "libjpeg",
        "rle",
        "dcmtx.transcoding.icons",
        *OTHER_PLACES,
    }


@pytest.mark.parametrize("word", ["--rle", "--j2k", "--htj2k", "--jpeg"])
def test_other_codecs_need_no_pydicom_either(word, source, tmp_path):
    imported = run(source, tmp_path / "out.dcm", word)
    assert "imagecodecs" in imported
    assert not imported & {"pydicom", "rich", "openjpeg", "libjpeg", "rle", "jpeg_ls", "_CharLS"}


def test_explicit_to_implicit_needs_neither_pydicom_nor_numpy(source, tmp_path):
    imported = run(source, tmp_path / "out.dcm", "--implicit")
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.IMPLICIT
    # Native pixels are carried, and VRs are only left out.
    assert not imported & HEAVY


def test_implicit_to_explicit_needs_no_more_of_pydicom_than_its_dictionary(tmp_path):
    image = dicom.Image(bytes(128), 8, 8, syntax=dicom.IMPLICIT)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    assert not run(tmp_path / "in.dcm", tmp_path / "out.dcm", "--explicit") & HEAVY
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.EXPLICIT


def test_the_package_itself_imports_nothing():
    program = "import sys, dcmtx; print(sorted(name for name in sys.modules if name.startswith('dcmtx')))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "['dcmtx']\n"
    program = "import dcmtx, sys; dcmtx.transcode; print(*[n in sys.modules for n in ('numpy', 'pydicom', 'click')])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False False\n"


def test_public_names_are_those_that_are_promised():
    import dcmtx

    promised = {"DcmtxError", "Job", "Outcome", "__version__", "frames", "job_from_json", "plan", "transcode"}
    assert promised | {"transcode_dataset"} <= set(dcmtx.__all__)
    for name in dcmtx.__all__:
        assert getattr(dcmtx, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dcmtx.nothing  # noqa: B018
