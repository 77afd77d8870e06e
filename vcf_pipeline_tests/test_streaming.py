"""The lines that users of VCF Agent's Phase 5.1 have, run as they wrote them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vcf_pipeline.domain.errors import BadVariant, UsageError
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Sender
from vcf_pipeline_tests.stages.published import announcements


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCF_PIPELINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def announced_at(home: Path) -> list[tuple[str, int]]:
    with Sender(load_settings({}, home=home)) as sender:
        return [(one.label, one.records) for one in announcements(sender.coordinator)]


def test_the_lines_of_phase_5_1_run_unchanged(home: Path):
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage

    async def main() -> None:
        async with StreamingCoordinator().processing_session() as c:
            await c.process_variant(
                VCFVariantMessage(chromosome="1", position=12345, reference="A", alternate="T", quality=30.0)
            )

    asyncio.run(main())
    assert announced_at(home) == [("session", 1)]


def test_start_status_and_stop_run_unchanged(home: Path):
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage

    async def main() -> None:
        coordinator = StreamingCoordinator()
        await coordinator.start()
        variant = VCFVariantMessage(chromosome="1", position=12345, reference="A", alternate="T", quality=30.0)
        assert await coordinator.process_variant(variant)
        status = coordinator.get_coordinator_status()
        assert (status["running"], status["variants_accepted"], status["variants_waiting"]) == (True, 1, 1)
        assert status["streaming"]["brokers"]
        await coordinator.stop()
        await coordinator.stop()
        status = coordinator.get_coordinator_status()
        assert (status["running"], status["variants_accepted"], status["callsets_announced"]) == (False, 1, 1)

    asyncio.run(main())
    assert announced_at(home) == [("session", 1)]


def test_a_coordinator_that_was_not_started_says_what_to_do():
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage

    with pytest.raises(UsageError, match=r"start\(\)"):
        asyncio.run(StreamingCoordinator().process_variant(VCFVariantMessage("1", 1, "A", "T")))


def test_sessions_side_by_side_are_callsets_of_their_own(home: Path):
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage

    async def main() -> None:
        coordinator = StreamingCoordinator()

        async def one(label: str, first: int, count: int) -> None:
            async with coordinator.processing_session(label) as session:
                for number in range(count):
                    await session.process_variant(VCFVariantMessage("1", first + number, "A", "T"))

        await asyncio.gather(one("a", 1, 1500), one("b", 5000, 30))

    asyncio.run(main())
    assert sorted(announced_at(home)) == [("a", 1500), ("b", 30)]


def test_a_session_that_fails_is_not_announced_and_a_bad_variant_does_not_end_one(home: Path):
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage

    async def main() -> None:
        coordinator = StreamingCoordinator()
        with pytest.raises(RuntimeError, match="stop"):
            async with coordinator.processing_session("broken") as session:
                await session.process_variant(VCFVariantMessage("1", 1, "A", "T"))
                raise RuntimeError("stop")
        async with coordinator.processing_session("whole") as session:
            with pytest.raises(BadVariant):
                await session.process_variant(VCFVariantMessage("1", -1, "A", "T"))
            await session.process_variant(VCFVariantMessage("1", 1, "A", "T"))

    asyncio.run(main())
    assert announced_at(home) == [("whole", 1)]


def test_what_waits_is_sent_by_the_clock(home: Path):
    from vcf_pipeline import StreamingCoordinator, VCFVariantMessage
    from vcf_pipeline.stages.publish_variants import SessionLimits

    async def main() -> None:
        coordinator = StreamingCoordinator(limits=SessionLimits(chunk_seconds=0.01))
        async with coordinator.processing_session() as session:
            await session.process_variant(VCFVariantMessage("1", 1, "A", "T"))
            async with asyncio.timeout(60):
                while session.waiting:
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    assert announced_at(home) == [("session", 1)]
