"""docker-compose.yml as Docker Compose reads it."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from .processes import ROOT

SCALE_ENV: Final = ROOT / "collector" / "scale.env"


def compose_as(profile: str, **chosen: str) -> dict[str, Any]:
    """Return the file as Docker Compose reads it: variables filled in, other profiles left out."""
    variables = dict(chosen)
    if profile == "scale":
        lines = [line for line in SCALE_ENV.read_text().splitlines() if not line.startswith("#")]
        variables |= dict(line.split("=") for line in lines)
    text = re.sub(
        r"(?<!\$)\$\{(\w+):-([^}]*)\}",
        lambda found: variables.get(found[1], found[2]),
        (ROOT / "docker-compose.yml").read_text(),
    )
    loaded: dict[str, Any] = yaml.safe_load(text)
    services = loaded["services"].items()
    loaded["services"] = {k: v for k, v in services if v.get("profiles", [profile]) == [profile]}
    return loaded


def mounts(service: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is mounted, by path inside: files of the checkout, and named volumes."""
    files, volumes = {}, {}
    for mount in service["volumes"]:
        source, target, *mode = mount.split(":")
        if source.startswith("./"):
            assert mode == ["ro"]
            assert (ROOT / source).exists()
            files[target] = source
        elif mode != ["ro"]:
            volumes[target] = source
    return files, volumes


def owners_in(service: dict[str, Any]) -> dict[str, str]:
    """Return the user that each volume is given to."""
    paths = mounts(service)[1]
    script = service["command"][-1]
    assert re.findall(r"/volumes/[\w-]+", script)
    return {
        paths[path]: owner
        for owner, given in re.findall(r"chown (\d+):\d+ (.+)", script)
        for path in given.split()
        if path in paths
    }


def configs_of(service: dict[str, Any]) -> str:
    """Return what the program of a service reads."""
    files = mounts(service)[0]
    said = " ".join(str(word) for word in service.get("command", ()))
    read = [ROOT / source for target, source in files.items() if target in said]
    return "".join(path.read_text() for path in read if path.suffix in (".yaml", ".yml"))
