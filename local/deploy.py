"""Applies Terraform to the running services."""

import glob
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Mapping, Optional

from . import paths, prerequisites, processes
from .console import Step

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_FOLDER = paths.STATE / "terraform"


def inputs(variables: Mapping[str, Any]) -> str:
    """A digest of everything that the deployment is made from: it is up to date exactly when this has not changed."""
    digest = hashlib.sha256(json.dumps(variables, sort_keys=True).encode())
    folders = (paths.ROOT / "terraform", paths.TERRAFORM, paths.ROOT / "statemachine", paths.LAMBDA_PACKAGES)
    for file in sorted(file for folder in folders for file in folder.glob("*") if file.is_file()):
        digest.update(f"{file.relative_to(paths.ROOT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def initialise() -> None:
    """Fetches the provider: from a folder on this machine where there is one, else from Terraform's registry."""
    mirror = plugin_mirror()
    stamp = _FOLDER / "initialised"
    sources = [paths.TERRAFORM / "main.tf", paths.ROOT / "terraform" / "versions.tf"]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in sources) + str(mirror).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and (_FOLDER / "providers").exists():
        return
    arguments = [f"-plugin-dir={mirror}"] if mirror else []
    _terraform(["init", "-reconfigure", *arguments], "terraform-init.log")
    stamp.write_text(wanted)


def apply(variables: Mapping[str, Any], secrets: Mapping[str, str], state: Path, step: Step) -> None:
    """Applies the deployment, with its state in a file."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    file = _FOLDER / "terraform.tfvars.json"
    file.write_text(json.dumps(variables))
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        found = re.search(r"(\S+): (Creation|Modifications|Destruction) complete", line)
        if found:
            done += 1
            step.say(f"{done} resources")

    arguments = ["apply", "-auto-approve", "-lock=false", "-parallelism=30", f"-var-file={file}", f"-state={state}", "-backup=-"]
    extra = {f"TF_VAR_{name}": value for name, value in secrets.items()}
    _terraform(arguments, "terraform.log", extra, on_line)


def outputs(state: Path) -> dict[str, Any]:
    """What the deployment consists of: the output `deployment`."""
    return json.loads(state.read_text())["outputs"]["deployment"]["value"]


def plugin_mirror() -> Optional[str]:
    """A folder on this machine that holds the AWS provider, laid out as Terraform's file-system mirrors are."""
    home = os.path.expanduser("~")
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    candidates = [
        os.environ.get("TF_PLUGIN_MIRROR", ""),
        f"{home}/.terraform.d/plugins",
        f"{os.environ.get('XDG_DATA_HOME') or home + '/.local/share'}/terraform/plugins",
        *(f"{folder}/terraform/plugins" for folder in data.split(":")),
        *sorted(glob.glob("/opt/*/")),
    ]
    for folder in candidates:
        if folder and os.path.isdir(os.path.join(folder, _PROVIDER)):
            return os.path.abspath(folder)
    return None


def _terraform(arguments, log: str, extra: Optional[Mapping[str, str]] = None, on_line=None) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    environment = {
        **prerequisites.terraform_environment(),
        "TF_DATA_DIR": str(_FOLDER),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        **(extra or {}),
        processes.MARKER: str(paths.STATE),
    }
    # The user's own AWS settings must not reach the provider: it would sign for another account, or assume a role.
    for name in [name for name in environment if name.startswith("AWS_") or name.startswith("TF_CLI_ARGS")]:
        del environment[name]
    environment["AWS_CONFIG_FILE"] = environment["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    processes.run(
        ["terraform", f"-chdir={paths.TERRAFORM}", arguments[0], "-no-color", "-input=false", *arguments[1:]],
        log=paths.LOGS / log, environment=environment, on_line=on_line,
    )
