"""Dagster's own pages in a real browser: every asset is materialised from them, and they show what a person wants.

Not here: what a run leaves in tables and stores, which the journeys on the command line compare.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import PATIENCE_SECONDS, ROOT, answered, dagster_program, vcf_pipeline, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# With the rows that each shows of 72 records of which 5 are of tier 2 and none of tier 1.
ASSETS = {
    "parsed_variants": 72,
    "triaged_variants": 72,
    "lancedb_variants": 72,
    "kuzu_variants": 72,
    "ai_annotations": 5,
    "lancedb_annotations": 5,
    "kuzu_annotations": 5,
}
# No sandbox: containers run as root. The others keep the browser from speaking to anybody but us.
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What each asset's materialisation must show: names of its metadata, in the order of the page.
SHOWN = {
    "parsed_variants": (
        *("dagster/row_count", "records", "rejected", "samples", "variants_per_second", "bytes_on_disk", "label"),
        *("assembly", "digest", "manifest", "variants_per_contig", "preview"),
    ),
    "triaged_variants": ("dagster/row_count", "tiers", "label", "digest", "manifest", "note", "preview"),
    "lancedb_variants": ("dagster/row_count", "label", "digest", "scope", "store"),
    "kuzu_variants": ("dagster/row_count", "label", "digest", "scope", "store"),
    "ai_annotations": ("dagster/row_count", "calls", "cost_usd", "label", "digest", "manifest", "note", "preview"),
    "lancedb_annotations": ("dagster/row_count", "label", "digest", "embedder", "store"),
    "kuzu_annotations": ("dagster/row_count", "label", "digest", "store"),
}


@pytest.fixture(scope="module")
def ui(daemon: Running) -> Iterator[str]:
    """The address of a web server over the daemon's home, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = daemon.home.parent / "webserver.log"
    address = f"http://127.0.0.1:{port}"

    words = ("-w", ROOT / "workspace.yaml", "-h", "127.0.0.1", "-p", str(port))
    with dagster_program(daemon.home, log, "dagster-webserver", *words) as process:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()[-4000:]
            try:
                asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                asked.request("GET", "/server_info")
                return asked.getresponse().status == 200
            except OSError:
                return False

        wait_until(answers, "a web server that answers")
        yield address


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """One tab of the real Chromium, with a profile of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium,
            args=CHROMIUM_FLAGS,
            viewport={"width": 1500, "height": 1000},
        )
        context.set_default_timeout(60_000)
        try:
            yield context.pages[0]
        finally:
            context.close()


def registered(home: Path, file: Path, tenant: str) -> str:
    """The partition of the file, under a tenant that no other test has."""
    answer = vcf_pipeline(home, "register", file, "--tenant", tenant, "--label", tenant, "--json")
    return str(answer.records[0]["partition"])


def state_of(home: Path, tenant: str) -> str:
    (callset,) = answered(home, "callsets", "list", "--tenant", tenant)
    return str(callset["state"])


def launch(page: Page, partition: str) -> None:
    """Click Materialize, choose the partition, launch, and stay until the run's page says how it ended."""
    from playwright.sync_api import expect

    page.get_by_role("button", name=re.compile(r"Materialize( all)?…")).click()
    dialog = page.locator("[role=dialog]").first
    dialog.get_by_text("Select a partition or create one").click()
    page.keyboard.type(partition)  # the menu draws only what is in sight of a long list
    page.locator("[role=menu] li", has_text=partition).first.click()
    dialog.click(position={"x": 12, "y": 12})  # the menu stays open for more, at times above the button
    expect(page.locator("[role=menu]")).to_have_count(0)
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_text("View", exact=True).click()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=PATIENCE_SECONDS * 1000)


def materialisation(page: Page, ui: str, asset: str, partition: str) -> Locator:
    """The newest materialisation of the partition, as the asset's page shows it: its table of metadata."""
    page.goto(f"{ui}/assets/{asset}?view=partitions&partition={quote(partition, safe='')}")
    page.get_by_text("dagster/row_count", exact=True).wait_for()
    return page.locator("body")


def assert_shows_what_a_person_wants(page: Page, ui: str, home: Path, partition: str, assets: Iterable[str]) -> None:
    """The counts are those that `run` prints of the same file."""
    from playwright.sync_api import expect

    for asset in assets:
        shown = materialisation(page, ui, asset, partition)
        for name in SHOWN[asset]:
            expect(shown.get_by_text(name, exact=True).first, f"{name} of {asset}").to_be_visible()
        text = shown.inner_text()
        assert re.search(rf"dagster/row_count\s+{ASSETS[asset]}\b", text), text
        assert str(home) in text
        if asset == "parsed_variants":
            assert re.search(r"\b1 │█{20} 72\b", text), "the plot of variants per contig"
            assert "949392" in text, "the preview"
        elif asset == "triaged_variants":
            assert re.search(r"tier\s+count\s+1\s+0\s+2\s+5\s+3\s+58\s+4\s+9\s+unknown\s+0\b", text), text
            assert "clinvar_pathogenic_weak" in text, "the preview"
        elif asset == "ai_annotations":
            assert re.search(r"calls\s+0\b", text), text
            page.get_by_text("[Show Markdown]").last.click()
            expect(page.locator("[role=dialog]").first, "the preview").to_contain_text("Congenital myasthenic syndrome")


def test_all_assets_are_materialised_from_the_lineage_page(ui, daemon, page, clinvar):
    partition = registered(daemon.home, clinvar, "ui-all")
    page.goto(f"{ui}/asset-groups")
    launch(page, partition)
    assert_shows_what_a_person_wants(page, ui, daemon.home, partition, ("parsed_variants", "triaged_variants"))
    assert state_of(daemon.home, "ui-all") == "done"


@pytest.mark.acceptance
def test_each_asset_is_materialised_from_its_own_page(ui, daemon, page, clinvar):
    partition = registered(daemon.home, clinvar, "ui-each")
    for asset in ASSETS:
        page.goto(f"{ui}/assets/{asset}")
        launch(page, partition)
        assert_shows_what_a_person_wants(page, ui, daemon.home, partition, [asset])
    assert state_of(daemon.home, "ui-each") == "done"
