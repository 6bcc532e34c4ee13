"""What MiniStack 1.5.33 lacks of AWS, as an extension that is loaded when it starts: `python -m
local.ministack_ext`.

Step Functions: redrive, heartbeats, a state machine's time-out, `MaxDelaySeconds` and
`JitterStrategy`, an end to the work of an aborted execution. Lambda: errors under the names that
AWS gives them, and reserved concurrency of an alias. S3: a range of an object's version. Each
module says what AWS documents, and which functions of MiniStack's it replaces.

It imports nothing but the standard library, MiniStack and google-crc32c, so that each module could
become a change of MiniStack's own.
"""

from . import api, functions, objects, tasks, walker

VERSION = "1.5.33"
"""The version of MiniStack that this extends."""


def install() -> None:
    """Extends the MiniStack of this process; once, before it serves.

    # Errors
    RuntimeError for another version of MiniStack, whose functions may have other meanings.
    """
    import importlib.metadata

    found = importlib.metadata.version("ministack")
    if found != VERSION:
        raise RuntimeError(f"this extends MiniStack {VERSION}, and {found} is installed")
    for module in (walker, tasks, api, functions, objects):
        module.install()
