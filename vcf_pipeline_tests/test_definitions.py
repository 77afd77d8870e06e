"""What Dagster loads: every name that operators, saved filters and scripts rely on, and what the catalogue says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

from vcf_pipeline.definitions import definitions
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.domain.projections.graph_rows import EDGES, NODES
from vcf_pipeline.stages import parse
from vcf_pipeline_tests.programs import BIN, ROOT, environment

NAMES = Path(__file__).with_name("all_names.txt")


def names() -> list[str]:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    found = [f"asset {key.to_user_string()}" for key in graph.get_all_asset_keys()]
    found += [f"check {check.asset_key.to_user_string()}.{check.name}" for check in graph.asset_check_keys]
    found += [f"job {job.name}" for job in repository.get_all_jobs() if not job.name.startswith("__")]
    found += [f"sensor {sensor.name}" for sensor in repository.sensor_defs]
    found += [f"schedule {schedule.name}" for schedule in repository.schedule_defs]
    found += [f"resource {name}" for name in repository.get_top_level_resources()]
    found += [f"partitions {CALLSETS.name}"]
    return sorted(found)


def test_the_names_are_the_written_ones():
    """A name that changes breaks somebody's filter, tag or script: change the file on purpose, never in passing."""
    assert names() == NAMES.read_text().splitlines()


def test_every_asset_reads_well_in_the_catalogue():
    repository = definitions.get_repository_def()
    for asset in repository.assets_defs_by_key.values():
        for spec in asset.specs:
            assert spec.description
            assert spec.group_name in ("variants", "stores", "annotations", "annotation_stores")
            assert spec.owners == ["team:vcf-pipeline"]
            assert spec.kinds
            assert spec.partitions_def == CALLSETS
            assert asset.backfill_policy == dg.BackfillPolicy.single_run()


def test_every_column_of_an_asset_is_explained_in_the_catalogue():
    for key, asset in definitions.get_repository_def().assets_defs_by_key.items():
        (spec,) = asset.specs
        columns = spec.metadata["dagster/column_schema"].columns
        assert len({column.name for column in columns}) == len(columns) >= 10
        assert [column.name for column in columns if not column.description] == [], key


def test_the_graphs_columns_are_its_nodes_and_edges_with_what_lies_on_them():
    (spec,) = definitions.get_repository_def().assets_defs_by_key[dg.AssetKey("kuzu_variants")].specs
    types = {column.name: column.type for column in spec.metadata["dagster/column_schema"].columns}
    assert (types["Variant"], types["Variant.pos"]) == ("node table", "Int64")
    assert (types["CARRIES"], types["CARRIES.zygosity"]) == ("edge table, Sample to Variant", "String")
    assert len(types) == sum(1 + len(columns) for columns in [*NODES.values(), *(edge[2] for edge in EDGES.values())])


def test_the_loads_come_after_what_they_load():
    graph = definitions.get_repository_def().asset_graph
    parents = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "parsed_variants": set(),
        "triaged_variants": {"parsed_variants"},
        "lancedb_variants": {"parsed_variants", "triaged_variants"},
        "kuzu_variants": {"parsed_variants", "triaged_variants"},
        "ai_annotations": {"triaged_variants"},
        "lancedb_annotations": {"ai_annotations"},
        "kuzu_annotations": {"ai_annotations", "kuzu_variants"},
    }


def test_dagster_shows_the_code_version_that_decides_what_is_stale():
    (spec,) = [
        spec
        for asset in definitions.get_repository_def().assets_defs_by_key.values()
        for spec in asset.specs
        if spec.key.path == ["parsed_variants"]
    ]
    assert spec.code_version == parse.CODE_VERSION


def test_sensors_and_schedules_start_running():
    repository = definitions.get_repository_def()
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    assert {schedule.default_status for schedule in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}


def test_loading_them_opens_nothing_and_warns_of_nothing_of_ours(tmp_path: Path):
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", "import vcf_pipeline.definitions, sys; print(*sys.modules, sep='\\n')"],
        env=environment(home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not home.exists()
    assert "vcf_pipeline/" not in done.stderr, done.stderr
    assert {"lancedb", "kuzu", "cyvcf2"} & set(done.stdout.split()) == set()


def test_dagster_finds_the_workspace_valid(tmp_path: Path):
    done = subprocess.run(
        [BIN / "dagster", "definitions", "validate", "-w", ROOT / "workspace.yaml"],
        env=environment(tmp_path / "home", DAGSTER_HOME=str(ROOT)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr
