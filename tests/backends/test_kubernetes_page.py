"""docs/kubernetes.md, which nobody has run: at least it names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from .compose import compose_as
from .processes import FILES, ROOT
from .test_files import validates

PAGE: Final = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS: Final = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OBJECTS: Final[list[dict[str, Any]]] = [one for b in BLOCKS for one in yaml.safe_load_all(b)]
PODS: Final = [o["spec"]["template"]["spec"] for o in OBJECTS if "template" in o.get("spec", {})]


def test_the_page_says_that_it_is_untested() -> None:
    assert "**Untested.**" in PAGE.partition("##")[0]


def test_images_are_those_of_the_compose_file() -> None:
    known = {service["image"] for service in compose_as("scale")["services"].values()}
    used = {
        container["image"]
        for pod in PODS
        for container in (*pod["containers"], *pod.get("initContainers", ()))
    }
    assert used <= known
    assert len(PODS) == 2


@pytest.mark.parametrize("pod", PODS, ids=["gateway", "agent"])
def test_a_pod_reads_what_it_is_given(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    read = [FILES / Path(word.partition("=")[2]).name for word in container["args"]]
    text = "".join(path.read_text() for path in read)
    for name in ("otel-collector.yaml", "otel-collector.gateway.yaml", "otel-collector.agent.yaml"):
        assert f"--from-file=collector/{name}" in PAGE
    for variable in (v["name"] for v in container["env"]):
        assert variable == "GOMEMLIMIT" or f"${{env:{variable}" in text
    for port in (p["containerPort"] for p in container["ports"]):
        assert re.search(rf"(0\.0\.0\.0:|_PORT:-){port}\}}", text)
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    assert mounts == {"/etc/otelcol": "config", "/var/lib/otelcol": "queue"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_agents_look_for_the_gateways_that_there_are() -> None:
    (gateways,) = (o for o in OBJECTS if o.get("kind") == "StatefulSet")
    (service,) = (o for o in OBJECTS if o.get("kind") == "Service")
    named = service["metadata"]["name"]
    assert gateways["spec"]["serviceName"] == named
    names = [f"gateway-{n}.{named}:4317" for n in range(gateways["spec"]["replicas"])]
    assert f"[{', '.join(names)}]" in PAGE


def test_the_overlay_with_the_k8s_resolver_is_one(otelcol_binary: Path, tmp_path: Path) -> None:
    (overlay,) = (block for block in BLOCKS if "k8s:" in block)
    (tmp_path / "agent-k8s.yaml").write_text(overlay)
    files = (FILES / "otel-collector.agent.yaml", tmp_path / "agent-k8s.yaml")
    validates(otelcol_binary, *files, OTELCOL_STORAGE=str(tmp_path))
