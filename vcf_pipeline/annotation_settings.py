"""Settings of annotation: which providers, how they are asked, what they may cost, who turns texts into vectors.

A part of settings.py, which collects every group. Not here: what a setting does (adapters/providers, stages).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from vcf_pipeline.domain.errors import BadSetting
from vcf_pipeline.domain.identity import TENANT_PATTERN

RULES = "rules"
PAID_OR_LOCAL = ("openai", "claude", "ollama")
PROVIDER_NAMES = (RULES, *PAID_OR_LOCAL)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AiSettings(_Group):
    """Who explains alleles, and within which bounds. A key in the environment never switches a provider on."""

    providers: str = Field(RULES, description="of rules, openai, claude, ollama, in order of preference, by commas")
    tiers: str = Field("1,2", pattern=r"^[1-4](,[1-4])*$", description="tiers that are explained, by commas")
    budget_usd_per_day: float = Field(
        5.0,
        ge=0,
        description="US dollars that a tenant's calls may cost a day (UTC); 0: no model is asked, not even a free one",
    )
    balance: Literal["preference", "round_robin", "least_loaded"] = Field(
        "preference", description="which provider is asked first; the others take over when it fails"
    )
    attempt_timeout_s: float = Field(10.0, gt=0, le=600, description="how long one call may take")
    deadline_s: float = Field(60.0, gt=0, le=3600, description="how long one allele may take, all attempts together")
    hedge_after_s: float = Field(
        0.0, ge=0, description="ask a second provider too when the first takes longer; 0: never, since both are paid"
    )
    consensus: int = Field(1, ge=1, le=3, description="how many providers answer each allele")
    fallback_to_rules: bool = Field(True, description="rules stand in where no provider could answer")
    tenant_providers: str = Field(
        "", description="which providers may see a tenant's facts, as acme=ollama;beta=openai,claude; others: all"
    )

    @field_validator("providers")
    @classmethod
    def _are_known(cls, value: str) -> str:
        return ",".join(_known("VCF_PIPELINE_AI__PROVIDERS", value))

    @field_validator("tenant_providers")
    @classmethod
    def _is_a_policy(cls, value: str) -> str:
        _policy(value)
        return value

    @property
    def provider_names(self) -> tuple[str, ...]:
        """In order of preference, each once."""
        return tuple(self.providers.split(","))

    @property
    def tier_numbers(self) -> tuple[int, ...]:
        return tuple(sorted({int(tier) for tier in self.tiers.split(",")}))

    @property
    def budget_microusd(self) -> int:
        return round(self.budget_usd_per_day * 1_000_000)

    def may_see(self, tenant: str, provider: str) -> bool:
        """Whether the provider may see the tenant's texts, whoever else explains."""
        permitted = _policy(self.tenant_providers).get(tenant)
        return permitted is None or provider in permitted

    def allowed(self, tenant: str) -> tuple[str, ...]:
        """The providers that may see the tenant's facts, in order of preference; `rules` always may."""
        permitted = _policy(self.tenant_providers).get(tenant)
        return tuple(name for name in self.provider_names if permitted is None or name in (*permitted, RULES))


class ProviderSettings(_Group):
    """One provider's address, model and bounds."""

    base_url: str = Field("", description="its address; default: the vendor's own")
    api_key: SecretStr = Field(SecretStr(""), description="the key")
    model: str = Field("", max_length=120, description="the model; default: see `vcf-pipeline providers check`")
    embedding_model: str = Field("", max_length=120, description="the model that makes vectors")
    concurrency: int = Field(8, ge=1, le=1000, description="calls at a time, of all processes together")
    requests_per_minute: int = Field(0, ge=0, description="calls a minute, of all processes together; 0: no bound")
    weight: int = Field(1, ge=1, le=100, description="its share, where the balance is not by preference")
    usd_per_mtok_in: float | None = Field(None, ge=0, description="US dollars for a million tokens of questions")
    usd_per_mtok_out: float | None = Field(None, ge=0, description="US dollars for a million tokens of answers")


class EmbedderSettings(_Group):
    """Who turns texts into vectors."""

    name: Literal["hashing", "openai", "ollama"] = Field(
        "hashing", description="hashing: by the words alone, offline; openai, ollama: by their embedding model"
    )


def _known(where: str, text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PROVIDER_NAMES]
    if unknown or not names:
        raise BadSetting(
            where=where,
            expected=f"some of {', '.join(PROVIDER_NAMES)}, by commas",
            got=repr(unknown[0] if unknown else text),
            repair="The first is asked first; `rules` needs no key and no network.",
        )
    return list(dict.fromkeys(names))


def _policy(text: str) -> dict[str, tuple[str, ...]]:
    """Tenant → providers. Raises BadSetting."""
    where = "VCF_PIPELINE_AI__TENANT_PROVIDERS"
    policy = {}
    for part in (part.strip() for part in text.split(";") if part.strip()):
        tenant, sign, names = part.partition("=")
        if not sign or not re.fullmatch(TENANT_PATTERN, tenant.strip()):
            raise BadSetting(
                where=where, expected="tenant=provider,provider; …", got=repr(part), repair="As in acme=ollama."
            )
        policy[tenant.strip()] = tuple(_known(where, names))
    return policy
