"""The commands of the command line, known before any of them, or click, is loaded."""

# Command: where it is, and the line that `dcmtx --help` shows without loading it.
COMMANDS: dict[str, tuple[str, str]] = {
    "convert": ("dcmtx.cli.convert:convert", "Convert DICOM files to another transfer syntax."),
    "info": ("dcmtx.cli.info:info", "Say what DICOM files are, and what is wrong with them."),
    "compare": ("dcmtx.cli.compare:compare", "Compare two DICOM files, or two directories."),
    "render": ("dcmtx.cli.render:render", "Make a picture of one frame, a PNG file."),
    "frames": ("dcmtx.cli.extract:frames", "Write frames as files of their own, as they are or decoded."),
    "index": ("dcmtx.cli.index:index", "Say where in a file each frame is, and each resolution, as JSON."),
    "advise": ("dcmtx.cli.advise:advise", "Measure what each lossless target would give for your own files."),
    "enhance": ("dcmtx.cli.enhance:enhance", "Make one enhanced multi-frame instance of a series."),
    "split": ("dcmtx.cli.split:split", "Make single frames of multi-frame instances."),
    "rewrap": ("dcmtx.cli.rewrap:rewrap", "Wrap codestreams anew, without decoding any."),
    "crop": ("dcmtx.cli.crop:crop", "Keep a part of an image: rows, columns, frames."),
    "policy": ("dcmtx.cli.policy:policy", "Check the rules of a site, and see what they would do."),
    "syntaxes": ("dcmtx.cli.syntaxes:syntaxes", "List every transfer syntax, and what dcmtx can do with it."),
    "audit": ("dcmtx.cli.audit:audit", "Prove a migrated archive from the report of its conversion."),
    "plan": ("dcmtx.cli.plan:plan", "Divide the files below SRC into shards, for many machines."),
    "shard": ("dcmtx.cli.shard:shard", "Convert the files of one shard, as any scheduler can."),
    "report": ("dcmtx.cli.report:report", "Say what became of the files of a run of shards."),
    "serve": ("dcmtx.cli.serve:serve", "Do the work of every dcmtx called, with codecs loaded."),
    "relay": ("dcmtx.cli.relay:relay", "Receive instances, transcode them, and forward them."),
    "as": ("dcmtx.cli.peers:as_peer", "Take the words of gdcmconv, DCMTK and other converters."),
    "link": ("dcmtx.cli.peers:link", "Give dcmtx the names of other converters in a directory."),
    "completion": ("dcmtx.cli.completion:completion", "Print a script that has a shell complete what follows dcmtx."),
    "hook": ("dcmtx.cli.hook:hook", "Print a hook that has Orthanc store in another transfer syntax."),
}
DEFAULT_COMMAND = "convert"
