"""The page of a report: whole in itself, nothing in it runs, and it says what it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.stages.report_page import NOTICE, page
from vcf_pipeline_tests.stages.made_control import MadeControl
from vcf_pipeline_tests.stages.made_report import CODE, put_hostile, told

MAY_BE = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "article", "header", "footer"),
    *("details", "summary", "h1", "h2", "h3", "p", "b", "span", "small", "ul", "li", "dl", "dt", "dd", "div"),
    *("blockquote", "table", "caption", "colgroup", "col", "thead", "tbody", "tr", "th", "td", "svg", "rect"),
}
REACHES_OUT = {"src", "href", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href"}


class Elements(HTMLParser):
    """What the page is made of, as a browser reads it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeControl]:
    made = MadeControl(tmp_path_factory.mktemp("control"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def html(control: MadeControl) -> str:
    return page(told(control, put_hostile(control), 3))


def read(html: str) -> Elements:
    elements = Elements()
    elements.feed(html)
    elements.close()
    return elements


def test_hostile_text_is_text(html: str) -> None:
    elements = read(html)
    assert elements.tags <= MAY_BE
    assert not {name for name in elements.attributes if name.startswith("on")} | (elements.attributes & REACHES_OUT)
    assert elements.open == []
    text = " ".join(elements.texts)
    assert "BRCA1<script>alert(1)</script>" in text
    assert CODE in text
    assert not any(bad in html for bad in ("\x1b", "\x00", "\u202e"))


def test_nothing_outside_is_asked_for(html: str) -> None:
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_it_says_what_it_is_at_both_ends_and_what_is_left_out(html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert html.count(NOTICE) == 2
    assert html.index(NOTICE) < html.index("Tier 1: look first")
    assert html.rindex(NOTICE) > html.index("Where this comes from")
    assert "1 more of tier 1 are not shown here" in html
    assert "The model reads the claims as <b>benign</b>, the rules say <b>pathogenic</b>" in html
    assert "Doubts about the call hold it in tier 2, where its evidence alone gives tier 1: its FILTER is not" in html
    assert "unknown" in html
    assert "… (" in html  # a long value is cut, and says so


def test_an_unknown_review_status_and_that_nobody_claims_anything_are_said(control: MadeControl) -> None:
    key = put_hostile(control, 30)
    triaged = control.tables.read(key.tenant, key.callset_id, "triaged_variants", "triaged")
    facts = {"extra": {"tiers": {"1": 6, "2": 6, "3": 6, "4": 6, "unknown": 6}, "sources": []}}
    for stars, sources, is_heard in (
        (None, [], False),
        (0, [{"name": "c", "version": "1", "preset": "clinvar"}], True),
    ):
        facts["extra"] |= {"sources": [source | {"matched": 0} for source in sources]}
        frame = triaged.with_columns(stars=pl.lit(stars, pl.Int8))
        control.write(key, "triaged_variants", {"triaged": frame}, facts)
        text = " ".join(" ".join(read(page(told(control, key, 3))).texts).split())
        assert ("pathogenic, review status unknown" in text) == (stars is None)
        assert ("pathogenic, 0 of 4 review stars" in text) == (stars == 0)
        assert ("Nobody was heard who claims anything" in text) != is_heard


def test_versions_thresholds_and_sources_are_named(html: str) -> None:
    text = " ".join(" ".join(read(html).texts).split())
    for said in ("common_af 0.05", "version c4fd4120aabb", "not used: of another assembly", "0.0001 USD", "a" * 64):
        assert said in text


def test_it_says_of_how_many_alleles_a_frequency_is_known_and_asks_for_gnomad_where_of_few(
    control: MadeControl,
) -> None:
    key = put_hostile(control)
    known = told(control, key, 3)
    assert "known for 14 of 20 alleles" in page(known)
    assert "sources add gnomad" not in page(known)
    unknown = replace(known, n_with_frequency=0, without_frequency={"clinvar_pathogenic": 20})
    assert "known for 0 of 20 alleles: register gnomAD" in page(unknown)
    assert '<td class="num">20</td><td class="num">20</td><td>ClinVar: P or LP' in page(unknown)
    heard = {**known.triaged.extra, "sources": [{"name": "gn", "version": "1", "preset": "gnomad", "matched": 0}]}
    assert "sources add gnomad" not in page(replace(unknown, triaged=replace(known.triaged, extra=heard)))


def test_every_move_is_on_the_page_up_to_a_bound_and_then_it_says_where_the_others_are(control: MadeControl) -> None:
    report = told(control, put_hostile(control), 3)
    move = {**report.moves[0], "old_tier": 2, "new_tier": 2}
    moves = [{**move, "new_tier": 4, "variant_key": f"1-{at}-A-C"} for at in range(150)]
    claims = [{**move, "variant_key": f"2-{at}-A-C"} for at in range(120)]
    html = page(replace(report, moves=moves, n_moves=150, claims=claims, n_claims=6_000))
    assert read(html).tags <= MAY_BE
    assert all(one["variant_key"] in html for one in (*moves, *claims))
    assert html.count("<details open>") == 2
    assert "Number 101 to 150 of 150" in html
    assert f'5,880 more are not shown here: <span class="mono">vcf-pipeline sources moves {report.key}' in html
    assert html.index("Claim changed, tier kept") < html.index("Tier 1: look first") < html.index("<details")


def test_a_browser_runs_nothing_of_it_and_it_fits_a_phone_and_paper(html: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    file = tmp_path / "report.html"
    file.write_text(html)
    asked: list[str] = []
    opened: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
        tab.goto(file.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        printed = tab.pdf(prefer_css_page_size=True)
        browser.close()
    assert asked == [file.as_uri()]
    assert opened == []
    assert printed.startswith(b"%PDF")
