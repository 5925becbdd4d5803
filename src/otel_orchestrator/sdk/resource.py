"""What process this is: the resource that its spans and metrics carry."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from ..semconv import Attr

_GIT_TIMEOUT_S: Final = 2.0


def resource_of(
    service_name: str | None, label: str | None, attributes: Mapping[str, AttributeValue]
) -> Resource:
    """Return what is known of this process: as it is told here, else by the environment."""
    chosen: dict[str, AttributeValue] = dict(attributes)
    if service_name is not None:
        chosen[Attr.SERVICE_NAME] = service_name
    if label is not None:
        chosen[Attr.RUN_LABEL] = label
    found = Resource.create(chosen)
    if str(found.attributes.get(Attr.SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({Attr.SERVICE_NAME: _program_name()}))
    # Without a host name Jaeger takes every span for one from another host (clock skew).
    if Attr.HOST_NAME not in found.attributes:
        found = found.merge(Resource({Attr.HOST_NAME: socket.gethostname()}))
    if Attr.REF_HEAD_REVISION not in found.attributes and (revision := _revision()):
        found = found.merge(Resource({Attr.REF_HEAD_REVISION: revision}))
    return found.merge(Resource({Attr.PROCESS_PID: os.getpid()}))


def label_of(resource: Resource) -> str | None:
    """Return `orchestrator.run.label`, which runs are compared by."""
    label = resource.attributes.get(Attr.RUN_LABEL)
    return None if label is None else str(label)


def _revision() -> str | None:
    """Return the commit of the program's own code, if it lies in a git repository."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        folder = Path(script).resolve().parent if script else Path.cwd()
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _program_name() -> str:
    stem = Path(sys.argv[0] if sys.argv else "").stem
    return stem if stem and stem not in ("__main__", "-c", "-m") else "orchestrator"
