"""AWS features that MiniStack 1.5.33 lacks, as an extension that is loaded at startup: `python -m
local.ministack_ext`.

Step Functions: redrive, heartbeats, a state machine's timeout, `MaxDelaySeconds` and
`JitterStrategy`, and aborted executions that stop working. Lambda: AWS's error names, and reserved
concurrency of an alias. S3: a range of an object's version. Each module says what AWS documents,
and which functions of MiniStack it replaces.

It imports only the standard library, MiniStack and google-crc32c, so that each module could become
a contribution to MiniStack."""

from . import api, functions, objects, tasks, walker

VERSION = "1.5.33"
"""The version of MiniStack that this extends."""


def install() -> None:
    """Extends the MiniStack in this process; call once, before it serves.

    # Errors
    RuntimeError for another version of MiniStack, whose functions may differ."""
    import importlib.metadata

    found = importlib.metadata.version("ministack")
    if found != VERSION:
        raise RuntimeError(f"this extends MiniStack {VERSION}, and {found} is installed")
    for module in (walker, tasks, api, functions, objects):
        module.install()
