"""Applies Terraform to the running services."""

import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import paths, prerequisites, processes
from .console import Step

_PROVIDER = "registry.terraform.io/hashicorp/aws"


def inputs(variables: Mapping[str, Any]) -> str:
    """A digest of everything that the deployment is made from: it is up to date exactly if this has
    not changed."""
    digest = hashlib.sha256(json.dumps(variables, sort_keys=True).encode())
    patterns = (
        "terraform/*.tf",
        "local/terraform/*.tf",
        "statemachine/*.json",
        "target/local/lambda/*.zip",
    )
    for file in sorted(file for pattern in patterns for file in paths.ROOT.glob(pattern)):
        digest.update(f"{file.relative_to(paths.ROOT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def initialise(folder: Path = paths.TERRAFORM) -> None:
    """Fetches the provider for a root module: from a folder on this machine if there is one, or
    else from Terraform's registry."""
    mirror = plugin_mirror()
    stamp = _data(folder) / "initialised"
    sources = [*sorted(paths.TERRAFORM.glob("*.tf")), paths.ROOT / "terraform" / "versions.tf"]
    wanted = hashlib.sha256(
        b"".join(file.read_bytes() for file in sources) + str(mirror).encode()
    ).hexdigest()
    made = [_data(folder) / "providers", folder / ".terraform.lock.hcl"]
    if stamp.exists() and stamp.read_text() == wanted and all(each.exists() for each in made):
        return
    arguments = [f"-plugin-dir={mirror}"] if mirror else []
    run(
        folder,
        ["init", "-no-color", "-input=false", "-reconfigure", *arguments],
        "terraform-init.log",
    )
    stamp.write_text(wanted)


def apply(
    variables: Mapping[str, Any], secrets: Mapping[str, str], state: Path, step: Step
) -> None:
    """Applies the deployment, with its state in a file."""
    file = _data(paths.TERRAFORM) / "variables.tfvars.json"
    file.write_text(json.dumps(variables))
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        found = re.search(r"(\S+): (Creation|Modifications|Destruction) complete", line)
        if found:
            done += 1
            step.say(f"{done} resources")

    options = [
        "-no-color",
        "-input=false",
        "-auto-approve",
        "-lock=false",
        "-parallelism=30",
        "-backup=-",
    ]
    files = [f"-var-file={file}", f"-state={state}"]
    extra = {f"TF_VAR_{name}": value for name, value in secrets.items()}
    run(paths.TERRAFORM, ["apply", *options, *files], "terraform-apply.log", extra, on_line)


def outputs(state: Path) -> dict[str, Any]:
    """What the deployment consists of: the output `deployment`."""
    deployment: dict[str, Any] = json.loads(state.read_text())["outputs"]["deployment"]["value"]
    return deployment


def plugin_mirror() -> str | None:
    """A folder on this machine that contains the AWS provider, laid out like a Terraform
    file-system mirror."""
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


def run(
    folder: Path,
    arguments: Sequence[str],
    log: str,
    extra: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Runs Terraform in a folder, with its working data outside the checkout and without the user's
    AWS settings, with which the provider would sign for another account, or assume a role.

    # Errors
    Failure if Terraform fails, with its last output."""
    _data(folder).mkdir(parents=True, exist_ok=True)
    environment = {
        name: value
        for name, value in prerequisites.terraform_environment().items()
        if not name.startswith(("AWS_", "TF_CLI_ARGS", "TF_VAR_"))
    }
    environment |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CHECKPOINT_DISABLE": "1",
        "TF_DATA_DIR": str(_data(folder)),
        "TF_IN_AUTOMATION": "1",
        processes.MARKER: str(paths.STATE),
        **(extra or {}),
    }
    processes.run(
        ["terraform", f"-chdir={folder}", *arguments],
        log=paths.LOGS / log,
        environment=environment,
        on_line=on_line,
    )


def _data(folder: Path) -> Path:
    return paths.STATE / "terraform" / "-".join(folder.relative_to(paths.ROOT).parts)
