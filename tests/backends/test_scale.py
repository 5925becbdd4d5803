"""The short form of `make soak-scale`: the whole chain, and its broker killed under load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .checking import check
from .reading import spans_in
from .scale import kills, trial
from .scaled import Chain, chain
from .stack import Binaries

pytestmark = pytest.mark.timeout(400)  # Cassandra alone takes half a minute to start


@pytest.fixture
def up(binaries: Binaries, tmp_path: Path) -> Iterator[Chain]:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        says = f"{' and '.join(missing)} missing: Kafka and Cassandra need Java 17 and Maven"
        if os.environ.get("OTEL_ORCHESTRATOR_REQUIRE_BACKENDS"):
            pytest.fail(says)
        pytest.skip(says)
    with chain(binaries, tmp_path) as running:
        yield running


def test_kafka_killed_with_a_batch_in_flight_loses_nothing(up: Chain, tmp_path: Path) -> None:
    kafka = [kill for kill in kills(up) if kill.what == "Kafka"]
    sent, rows = trial(up, tmp_path, kafka, runs_per_s=0.5, down_s=3)
    outcome = check(sent, {one: spans_in(up.jaeger, one) for one in sent})
    assert outcome.is_right, outcome
    assert len(outcome.by_gateway) == 2
    assert rows[0].spans > 300
