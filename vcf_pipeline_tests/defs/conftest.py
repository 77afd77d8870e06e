"""A Dagster instance in memory, a control in a scratch home, and the ticks and runs that a daemon would do there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from vcf_pipeline.definitions import definitions
from vcf_pipeline.defs import reconcile
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.stages.published import made_vcf, published

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Desk:
    """What an operator's machine does, step by step and without a clock of its own."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.instance, self.folder = instance, folder
        self.control = Control(load_settings(environ or {}, home=folder / "home", sensor={"hold_seconds": 0.05}))
        self.cursors: dict[str, str | None] = {}

    def made(self, records: int) -> str:
        """A VCF of its own, by its number of records."""
        folder = self.folder / f"with-{records}"
        folder.mkdir(exist_ok=True)
        return made_vcf(folder, records=records)

    def publish(self, records: int = 3) -> str:
        """A made file announced in the embedded log; its partition."""
        return published(self.made(records), self.control.coordinator, self.folder).partition

    def tick(self, name: str) -> dg.SensorResult:
        """One evaluation, its partitions added and deleted, its cursor kept, as the sensor daemon does."""
        sensor = definitions.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            resources={"control": self.control},
            definitions=definitions,
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions("callsets", list(request.partition_keys))
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition("callsets", key)
        self.cursors[name] = result.cursor
        return result

    def asked_again(self, job: str = "variants_job") -> list[dg.RunRequest]:
        """What reconciling asks for of one job: explanations that nobody heard of are a matter apart."""
        return [one for one in self.tick("reconcile_sensor").run_requests or [] if one.job_name == job]

    def scheduled(self, name: str, at: float) -> list[dg.RunRequest]:
        """What a schedule asks for at a moment, seconds since 1970."""
        context = dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=datetime.fromtimestamp(at, UTC),
            resources={"control": self.control},
        )
        answer = definitions.resolve_schedule_def(name)(context)
        return answer if isinstance(answer, list) else []

    def run(self, request: dg.RunRequest, job: str = "variants_job") -> dg.ExecuteInProcessResult:
        """The run that was asked for, to its end."""
        self.control.errors.clear()
        whole = definitions.resolve_job_def(job)
        wanted = request.asset_selection
        return (whole if wanted is None else whole.get_subset(asset_selection=set(wanted))).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=dict(request.tags),
            run_config=QUIET,
            resources={"control": self.control},
            raise_on_error=False,
        )

    def note_run(
        self,
        status: dg.DagsterRunStatus,
        tags: dict[str, str],
        run_id: str | None = None,
        job: str = "variants_job",
    ) -> str:
        """A run that is only in Dagster's books; its id."""
        run = self.instance.create_run_for_job(
            job_def=definitions.resolve_job_def(job), run_id=run_id, tags=tags, status=status
        )
        return run.run_id

    def state(self, partition: str) -> str:
        callset = self.control.ledger.callset(PartitionKey.parse(partition))
        return "unknown" if callset is None else callset.state

    def say_anything(self) -> None:
        """A message on the control topic that is no announcement."""
        self.control.coordinator.emit(Envelope(id="x", kind="noise", tenant="t", body=b""), CALLSETS, "x")

    def close(self) -> None:
        self.control.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that failed for a while is tried again as often as ever, without the seconds in between."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt_num: 0)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(instance, tmp_path)
        yield desk
        desk.close()


@pytest.fixture
def disk_desk(tmp_path: Path) -> Iterator[Desk]:
    """With an instance on the disk: schedules and the states of sensors need one. It tells nobody of its runs."""
    silent = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=silent) as instance:
        desk = Desk(instance, tmp_path)
        yield desk
        desk.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """reconcile_sensor finds every backoff over."""
    monkeypatch.setattr(reconcile, "time", SimpleNamespace(time=lambda: time.time() + 3600))
