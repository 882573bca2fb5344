"""Translates a peer's command line into one of `dcmtx convert`."""

from __future__ import annotations

from dcmtx.errors import UsageError
from dcmtx.peers.grammar import Given, read
from dcmtx.peers.table import Grammar, Option, Peer, Settings, Verdict
from dcmtx.record import Record
from dcmtx.syntax import EXPLICIT, ROOT, Loss, find

# Settings that are options of `dcmtx convert` with the same name, followed by the value.
_VALUES = (
    "quality", "ratio", "psnr", "near", "subsampling", "predictor", "resolutions", "uid", "offset-table", "no-pixels",
    "jobs", "remove", "lengths", "charset", "assume", "fragment-size", "icon", "photometric", "planar",
)  # fmt: skip
_FLAGS = ("lossy", "force", "dataset-only", "ignore-errors", "apply-palette")
# Options for which a file is written anew though its codestreams stay, and those for which pixels may not.
_KEEPING = frozenset(["--fragment-size", "--icon"])
_CHANGING = frozenset(["--apply-palette", "--photometric", "--planar"])
# Targets that depend on the syntax of SRC.
SAME, RAW = "same", "raw"
_DEPENDS = (SAME, RAW)


class Translation(Record):
    """A peer's command line, translated.

    `mode` is "help" or "version" if that was requested; the other fields are then empty. `target` is a value of `--to`,
    or SAME or RAW. `arguments` are all options but `--to`; `notes` say what was ignored, and why.
    """

    sources: tuple[str, ...] = ()
    destination: str = ""
    target: str = ""
    arguments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mode: str = ""
    verbose: bool = False
    show: bool = False
    rewrite: bool = False

    def line(self, target: str) -> list[str]:
        """Return the arguments of `dcmtx convert` with this target."""
        more = []
        if self.rewrite and "--offset-table" not in self.arguments:
            # With this option, a source in the target syntax is not copied: only its codestreams are.
            more = ["--offset-table", "basic"]
        syntax = find(target)
        asked = set(self.arguments)
        rewrites = (self.rewrite or asked & _KEEPING) and not asked & {*_CHANGING, "--lossy"}
        if rewrites and self.target == SAME and syntax is not None and syntax.loss is Loss.LOSSY:
            # Nothing is lost here, but a lossy target requires consent.
            more.append("--lossy")
        return ["--to", target, *self.arguments, *more, "--", *self.sources, self.destination]


def translate(peer: Peer, arguments: list[str]) -> Translation:
    """Translate a peer's command line.

    Raises UsageError for what the peer would reject, and for what dcmtx does not do, with what to type instead.
    """
    line = read(peer, arguments)
    settings = _settings(peer, line.given)
    if "mode" in settings:
        return Translation(mode=settings["mode"])
    sources, destination = _files(peer, settings, list(line.files))
    settings |= {"source": sources[0], **({"destination": destination} if destination else {})}
    asked = peer.finish(settings)
    notes = tuple(dict.fromkeys(_judged(peer, given, bool(asked.get("lossy"))) for given in line.given))
    if not asked.get("destination"):
        raise _usage(peer, "no DST")
    return Translation(
        tuple(sources),
        asked["destination"],
        asked["target"],
        arguments=tuple(_options(asked)),
        notes=tuple(note for note in notes if note),
        verbose=asked.get("say") == "--verbose",
        show="show" in asked,
        rewrite="rewrite" in asked,
    )


def resolved(target: str, syntax: str) -> str:
    """Return the value of `--to` for a target, if SRC has the transfer syntax with this UID.

    RAW, from gdcmconv, decodes compressed, deflated and big endian files, and leaves the rest.
    """
    if target == RAW:
        return syntax if syntax in (EXPLICIT.uid, ROOT) else EXPLICIT.uid
    return syntax if target == SAME else target


def depends(target: str) -> bool:
    """Tell whether a target depends on the transfer syntax of SRC."""
    return target in _DEPENDS


def explained(option: Option) -> str:
    """Describe an option of the table in words."""
    ours = " ".join(f"`{text}`" for text in [" ".join(_options(dict(option.sets)))] if text)
    sets = dict(option.sets)
    target = sets.get("target") or sets.get("codec") or sets.get("encoding")
    if target == SAME:
        ours = "in SRC"
    elif target:
        ours = f"`--to {target.replace('{}', 'UID')}{' --lossy' if sets.get('lossy') else ''}`"
    elif "raw" in sets:
        ours = "`--to explicit`; Implicit VR Little Endian stays"
    return {
        Verdict.DONE: "; ".join(filter(None, [f"As {ours}" if ours else "", option.text])) or "Done",
        Verdict.IGNORED: f"Ignored: {option.text}",
        Verdict.LOSSLESS: f"Ignored where nothing is lost, as by the peer; otherwise refused: {option.text}",
        Verdict.REFUSED: f"Refused: {option.text}",
    }[option.verdict] + (f". {option.harmless} is what dcmtx does" if option.harmless else "")


def _settings(peer: Peer, given: tuple[Given, ...]) -> Settings:
    """Return the settings that options make. The last value counts; for settings in `once`, all must agree."""
    settings: Settings = {}
    for one in given:
        for name, value in one.option.sets:
            made = value.replace("{}", one.values[0]) if one.values else value
            if name in peer.once and settings.get(name, made) != made:
                raise UsageError(
                    f"{peer.name}: one file has one transfer syntax, not both {settings[name]} and {made}",
                    advice="leave one of the options out",
                )
            if name == "mode":
                # The first counts, whatever follows.
                settings.setdefault(name, made)
            else:
                settings[name] = made
    return settings


def _files(peer: Peer, settings: Settings, files: list[str]) -> tuple[list[str], str]:
    """Return sources and destination, from options or from the other words."""
    source, destination = settings.pop("source", ""), settings.pop("destination", "")
    sources = [source] if source else []
    if not destination and len(files) + len(sources) > 1 and peer.grammar is not Grammar.CLAP:
        destination = files.pop()
    sources += files
    if not sources:
        raise _usage(peer, "no SRC")
    if len(sources) > 1 and not peer.several:
        raise _usage(peer, f"{len(sources)} sources, but it takes one")
    if "" in sources:
        raise _usage(peer, "the name of a file is empty")
    return sources, destination


def _usage(peer: Peer, what: str) -> UsageError:
    return UsageError(f"{peer.name}: {what}", advice=f"the line is {peer.name} {peer.usage}")


def _judged(peer: Peer, given: Given, lossy: bool) -> str:
    """Return a note on an ignored option, otherwise an empty string. Raises UsageError for a refused one."""
    option = given.option
    if option.verdict is Verdict.DONE:
        return ""
    harmless = bool(option.harmless) and given.values == (option.harmless,)
    matters = option.verdict is Verdict.REFUSED or (option.verdict is Verdict.LOSSLESS and lossy)
    if matters and not harmless:
        raise UsageError(f"{peer.name}: {given.written} is not done here", advice=option.text)
    why = option.text if option.verdict is Verdict.IGNORED else f"{peer.name} changes nothing by it either"
    return f"{peer.name}: {given.written} is ignored: {why}"


def _options(settings: Settings) -> list[str]:
    """Return settings as options of `dcmtx convert`."""
    options = [f"--{name}" for name in _FLAGS if settings.get(name)]
    for name in _VALUES:
        if settings.get(name):
            options += [f"--{name}", settings[name].replace("{}", "N")]
    if settings.get("say"):
        options.append(settings["say"])
    return options
