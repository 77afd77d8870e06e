"""Consequence terms: how severe each is, its impact, and the short names that stand for it in EFF and BCSQ.

Not here: reading an annotation (consequences.py).
Sources: Ensembl VEP, "Calculated variant consequences" (order and impact of the Sequence Ontology's terms);
SnpEff, "Effect prediction details" (its own terms, put beside their like; the classic names of EFF);
bcftools csq, csq.c (short names of BCSQ).
"""

from __future__ import annotations

IMPACTS = ("HIGH", "MODERATE", "LOW", "MODIFIER")

# most severe first
_SEVERITY = """
HIGH      chromosome_number_variation chromosome transcript_ablation exon_loss_variant
HIGH      splice_acceptor_variant splice_donor_variant stop_gained frameshift_variant stop_lost start_lost
HIGH      gene_fusion bidirectional_gene_fusion feature_fusion rearranged_at_DNA_level
HIGH      transcript_amplification duplication inversion feature_elongation feature_truncation
HIGH      rare_amino_acid_variant structural_interaction_variant protein_protein_contact
MODERATE  disruptive_inframe_insertion disruptive_inframe_deletion inframe_insertion inframe_deletion
MODERATE  conservative_inframe_insertion conservative_inframe_deletion
MODERATE  missense_variant protein_altering_variant 5_prime_UTR_truncation 3_prime_UTR_truncation
LOW       splice_donor_5th_base_variant splice_region_variant splice_donor_region_variant
LOW       splice_polypyrimidine_tract_variant splice_branch_variant incomplete_terminal_codon_variant
LOW       5_prime_UTR_premature_start_codon_gain_variant initiator_codon_variant start_retained
LOW       start_retained_variant stop_retained_variant synonymous_variant
MODIFIER  coding_sequence_variant mature_miRNA_variant miRNA 5_prime_UTR_variant 3_prime_UTR_variant
MODIFIER  non_coding_transcript_exon_variant non_coding_exon_variant exon_variant exon_region
MODIFIER  conserved_intron_variant intron_variant NMD_transcript_variant non_coding_transcript_variant
MODIFIER  coding_transcript_variant transcript_variant transcript sequence_feature gene_variant
MODIFIER  intragenic_variant upstream_gene_variant downstream_gene_variant
MODIFIER  TFBS_ablation TFBS_amplification TF_binding_site_variant
MODIFIER  regulatory_region_ablation regulatory_region_amplification regulatory_region_variant
MODIFIER  conserved_intergenic_variant intergenic_variant intergenic_region sequence_variant
"""
_LINES = [line.split() for line in _SEVERITY.split("\n") if line]
IMPACT: dict[str, str] = {term: line[0] for line in _LINES for term in line[1:]}
RANK: dict[str, int] = {term: rank for rank, term in enumerate(IMPACT)}
UNRANKED = len(RANK)
RANK_OF_IMPACT: dict[str, int] = {
    impact: max(rank for term, rank in RANK.items() if IMPACT[term] == impact) for impact in IMPACTS
}
"""Of a term that the table lacks: behind all known ones of its impact."""

CLASSIC: dict[str, str] = {
    "CDS": "coding_sequence_variant",
    "CHROMOSOME_LARGE_DELETION": "chromosome_number_variation",
    "CODON_CHANGE": "coding_sequence_variant",
    "CODON_CHANGE_PLUS_CODON_DELETION": "disruptive_inframe_deletion",
    "CODON_CHANGE_PLUS_CODON_INSERTION": "disruptive_inframe_insertion",
    "CODON_DELETION": "inframe_deletion",
    "CODON_INSERTION": "inframe_insertion",
    "DOWNSTREAM": "downstream_gene_variant",
    "EXON": "exon_variant",
    "EXON_DELETED": "exon_loss_variant",
    "FRAME_SHIFT": "frameshift_variant",
    "GENE": "gene_variant",
    "INTERGENIC": "intergenic_region",
    "INTERGENIC_CONSERVED": "conserved_intergenic_variant",
    "INTRAGENIC": "intragenic_variant",
    "INTRON": "intron_variant",
    "INTRON_CONSERVED": "conserved_intron_variant",
    "MICRO_RNA": "miRNA",
    "NON_SYNONYMOUS_CODING": "missense_variant",
    "NON_SYNONYMOUS_START": "initiator_codon_variant",
    "NON_SYNONYMOUS_STOP": "stop_retained_variant",
    "RARE_AMINO_ACID": "rare_amino_acid_variant",
    "REGULATION": "regulatory_region_variant",
    "SPLICE_SITE_ACCEPTOR": "splice_acceptor_variant",
    "SPLICE_SITE_BRANCH": "splice_branch_variant",
    "SPLICE_SITE_DONOR": "splice_donor_variant",
    "SPLICE_SITE_REGION": "splice_region_variant",
    "START_GAINED": "5_prime_UTR_premature_start_codon_gain_variant",
    "START_LOST": "start_lost",
    "STOP_GAINED": "stop_gained",
    "STOP_LOST": "stop_lost",
    "SYNONYMOUS_CODING": "synonymous_variant",
    "SYNONYMOUS_START": "start_retained",
    "SYNONYMOUS_STOP": "stop_retained_variant",
    "TRANSCRIPT": "transcript_variant",
    "UPSTREAM": "upstream_gene_variant",
    "UTR_3_DELETED": "3_prime_UTR_truncation",
    "UTR_3_PRIME": "3_prime_UTR_variant",
    "UTR_5_DELETED": "5_prime_UTR_truncation",
    "UTR_5_PRIME": "5_prime_UTR_variant",
}
SHORT: dict[str, str] = {
    "3_prime_utr": "3_prime_UTR_variant",
    "5_prime_utr": "5_prime_UTR_variant",
    "coding_sequence": "coding_sequence_variant",
    "frameshift": "frameshift_variant",
    "inframe_altering": "protein_altering_variant",
    "intergenic": "intergenic_variant",
    "intron": "intron_variant",
    "missense": "missense_variant",
    "non_coding": "non_coding_transcript_variant",
    "splice_acceptor": "splice_acceptor_variant",
    "splice_donor": "splice_donor_variant",
    "splice_region": "splice_region_variant",
    "start_retained": "start_retained_variant",
    "stop_retained": "stop_retained_variant",
    "synonymous": "synonymous_variant",
}
