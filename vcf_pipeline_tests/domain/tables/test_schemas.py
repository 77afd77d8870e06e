"""Every column of every table is explained, and nothing else is."""

from __future__ import annotations

from vcf_pipeline.domain.projections.annotation_rows import ANNOTATION_ROWS
from vcf_pipeline.domain.projections.graph_rows import EDGES, GRAPH_MEANINGS, NODES, TABLE_MEANINGS
from vcf_pipeline.domain.projections.search_rows import SEARCH_ROWS
from vcf_pipeline.domain.tables import schemas

TABLES = [
    schemas.ROW_ID,
    schemas.VARIANTS_HEAD,
    schemas.VARIANTS_TAIL,
    schemas.CONSEQUENCES,
    schemas.REJECTS,
    schemas.GENOTYPES_HEAD,
    schemas.GENOTYPES_TAIL,
    schemas.TRIAGED,
    schemas.TIER_MOVES,
    schemas.AI_ANNOTATIONS,
    SEARCH_ROWS,
    ANNOTATION_ROWS,
]


def test_every_column_has_a_meaning_and_every_meaning_a_column() -> None:
    assert set(schemas.COLUMN_MEANINGS) == {name for table in TABLES for name in table}


def test_every_table_of_the_graph_and_every_column_of_it_has_a_meaning() -> None:
    assert set(TABLE_MEANINGS) == {*NODES, *EDGES}
    columns = {name for table in [*NODES.values(), *(edge[2] for edge in EDGES.values())] for name in table}
    assert columns <= {*GRAPH_MEANINGS, *schemas.COLUMN_MEANINGS}
    assert set(GRAPH_MEANINGS) <= columns
