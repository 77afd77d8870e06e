"""Settings → adapters: the one file that names concrete classes. Doubles enter here, as arguments.

A *sender* opens files, a broker and its own state, nothing else; *control* also has the ledger, tables and stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vcf_pipeline.adapters.objects import make_private_dir
from vcf_pipeline.domain.annotation.prices import price_of
from vcf_pipeline.domain.errors import BadAnswer, BadSetting, PipelineError, UnknownPrice
from vcf_pipeline.settings import Settings

if TYPE_CHECKING:
    from vcf_pipeline.adapters.broker.coordinator import Coordinator
    from vcf_pipeline.adapters.broker.port import Broker
    from vcf_pipeline.adapters.broker.spool import Spool
    from vcf_pipeline.adapters.embedders.port import Embedder
    from vcf_pipeline.adapters.ledger.ledger import Ledger
    from vcf_pipeline.adapters.providers.attempts import Member
    from vcf_pipeline.adapters.providers.explainer import Explainer
    from vcf_pipeline.adapters.providers.openai_client import OpenAiClient
    from vcf_pipeline.adapters.providers.port import Books
    from vcf_pipeline.adapters.providers.router import Router
    from vcf_pipeline.adapters.providers.rules import RulesAnnotator
    from vcf_pipeline.adapters.sources import SourceTables
    from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
    from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations
    from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
    from vcf_pipeline.adapters.tables import Tables
    from vcf_pipeline.stages.annotate import Wanted
    from vcf_pipeline.stages.explain_variant import Known
    from vcf_pipeline.stages.joined_sources import Registered
    from vcf_pipeline.stages.notify import Notices


@dataclass(frozen=True)
class Progress:
    """How far a stage is: done of total (0 when nobody knows) in unit bytes, chunks or alleles; records so far."""

    stage: str
    done: int
    total: int
    unit: str
    records: int


def configured_brokers(settings: Settings, home: Path) -> list[Broker]:
    """In order of preference: Iggy, Kafka; the embedded log where neither is configured. Nothing is connected yet."""
    found: list[Broker] = []
    stream, address = settings.stream, settings.iggy.address
    if address is not None:
        from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions

        found.append(
            IggyBroker(
                IggyOptions(
                    address=address.host_and_port,
                    transport=address.transport,
                    username=address.username,
                    password=address.password,
                    token=settings.iggy.token.get_secret_value(),
                    tls=address.has_tls,
                    tls_ca=str(settings.iggy.tls_ca or ""),
                    http_url=settings.iggy.http_url,
                    prefix=settings.iggy.prefix or stream.prefix,
                    connect_timeout_s=stream.connect_timeout_s,
                    call_timeout_s=stream.call_timeout_s,
                )
            )
        )
    if settings.kafka.bootstrap_servers:
        from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions

        found.append(
            KafkaBroker(
                KafkaOptions(
                    bootstrap_servers=settings.kafka.bootstrap_servers,
                    prefix=settings.kafka.prefix or stream.prefix,
                    replication=settings.kafka.replication,
                    security=settings.kafka.security,
                    connect_timeout_s=stream.connect_timeout_s,
                    silence_s=stream.frozen_after_s,
                    delivery_timeout_s=stream.call_timeout_s,
                )
            )
        )
    return found or [embedded_log(home)]


def embedded_log(home: Path) -> Broker:
    from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker

    return EmbeddedBroker(home / "log")


def configured_embedder(settings: Settings, tenant: str, books: Callable[[], Books]) -> Embedder:
    """Who makes the tenant's vectors: by words alone where its policy keeps its texts from the configured model.

    Raises UnknownPrice.
    """
    from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder

    name = settings.embedder.name
    if name == "hashing" or not settings.ai.may_see(tenant, name):
        return HashingEmbedder()
    from vcf_pipeline.adapters.embedders.model import ModelEmbedder, Terms
    from vcf_pipeline.domain.annotation.spending import Bounds

    one, model = settings.provider(name), provider_client(settings, name).embedding_model
    try:
        price = price_of(name, model)
    except UnknownPrice:
        price = price_of(name, model, (one.usd_per_mtok_in, one.usd_per_mtok_out))
    bounds = Bounds(settings.ai.budget_microusd, one.concurrency, one.requests_per_minute)
    terms = Terms(tenant, price, bounds)
    return ModelEmbedder(name, model, terms, lambda: (provider_client(settings, name), books()))


def _embedded_too(settings: Settings, home: Path, brokers: Sequence[Broker], pin: str | None) -> list[Broker]:
    """The embedded log beside Iggy or Kafka: what lies in it is heard and read, and a pin may send to it."""
    if any(broker.name == "embedded" for broker in brokers):
        return []
    return [embedded_log(home)] if pin == "embedded" or settings.log_folder.is_dir() else []


def _check_pin(pin: str | None, names: Sequence[str]) -> None:
    if pin is None or pin in names:
        return
    setting = {"iggy": "VCF_PIPELINE_IGGY__URL", "kafka": "VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS"}.get(pin, pin)
    raise BadSetting(
        where=setting,
        expected=f"the address of {pin}",
        got="none",
        repair="Set it, or publish without --broker.",
    )


def provider_client(settings: Settings, name: str) -> OpenAiClient:
    """openai, claude or ollama as configured. Nothing is connected."""
    from vcf_pipeline.adapters.providers.openai_client import OpenAiClient

    one = settings.provider(name)
    return OpenAiClient(
        name,
        api_key=one.api_key.get_secret_value(),
        model=one.model,
        address=one.base_url,
        embedding_model=one.embedding_model,
    )


def provider_members(settings: Settings, names: Sequence[str] | None = None) -> list[Member]:
    """The named providers, or those that are configured, without `rules`; one of unknown price has its problem."""
    from vcf_pipeline.adapters.providers.attempts import Member

    members = []
    for name in settings.ai.provider_names if names is None else names:
        if name == "rules":
            continue
        one, client = settings.provider(name), provider_client(settings, name)
        price, problem = None, ""
        try:
            price = price_of(name, client.model, (one.usd_per_mtok_in, one.usd_per_mtok_out))
        except UnknownPrice as error:
            problem = str(error)
        members.append(
            Member(
                client,
                price,
                concurrency=one.concurrency,
                requests_per_minute=one.requests_per_minute,
                weight=one.weight,
                problem=problem,
            )
        )
    return members


def rules_annotator() -> RulesAnnotator:
    """The annotator that needs no model."""
    from vcf_pipeline.adapters.providers.rules import RulesAnnotator
    from vcf_pipeline.domain.annotation import sentences

    return RulesAnnotator(sentences.summarise, sentences.RULES_VERSION)


class Sender:
    """What a sender may open. Everything is made when first used, and closed with the `with`."""

    def __init__(self, settings: Settings, brokers: Sequence[Broker] | None = None, *, pin: str | None = None) -> None:
        self.settings = settings
        self._brokers = brokers
        self._pin = pin

    @cached_property
    def home(self) -> Path:
        return make_private_dir(self.settings.home)

    @cached_property
    def coordinator(self) -> Coordinator:
        """Over the brokers that are configured. Raises BadSetting for a pinned one that is not."""
        from vcf_pipeline.adapters.broker.coordinator import Coordinator
        from vcf_pipeline.adapters.broker.routing import Rules

        stream = self.settings.stream
        brokers = list(self._brokers) if self._brokers is not None else configured_brokers(self.settings, self.home)
        also_heard = _embedded_too(self.settings, self.home, brokers, self._pin) if self._brokers is None else []
        # beside the embedded log alone nothing is spooled, but what was spooled before leaves by it
        has_spool = any(broker.name != "embedded" for broker in brokers) or self.spool.path.exists()
        _check_pin(self._pin, [broker.name for broker in [*brokers, *also_heard]])
        return Coordinator(
            brokers,
            also_heard=also_heard,
            spool=self.spool if has_spool else None,
            pin=self._pin,
            patience_s=stream.reconnect_s,
            frozen_after_s=stream.frozen_after_s,
            rules=Rules(failback_after_s=stream.failback_after_s),
        )

    @cached_property
    def spool(self) -> Spool:
        """What this home's publications wait in while no broker is left; nothing is made before it is used."""
        from vcf_pipeline.adapters.broker.spool import Spool

        return Spool(self.settings.spool_folder, self.settings.stream.spool_bytes)

    def close(self) -> None:
        if "coordinator" in self.__dict__:
            self.coordinator.close()
        if "spool" in self.__dict__:
            self.spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Control(Sender):
    """What control may open, beside what a sender may.

    progress: told what a stage has done, where somebody watches. errors: what stages raised, as our own errors,
    for an entrance that runs Dagster in its own process and wants more than Dagster's account of it. is_stopped: a
    signal ended what ran. tell: a line about a provider that is asked no more, where somebody reads it.
    """

    def __init__(
        self,
        settings: Settings,
        brokers: Sequence[Broker] | None = None,
        progress: Callable[[Progress], None] | None = None,
        *,
        pin: str | None = None,
    ) -> None:
        super().__init__(settings, brokers, pin=pin)
        self.progress = progress
        self.tell: Callable[[str], None] = lambda _: None
        self.errors: list[PipelineError] = []
        self.is_stopped = False

    @property
    def has_ledger(self) -> bool:
        """Whether this home is control's: with a broker elsewhere it may be a sender's, which has no ledger and gets
        none. Alone with the embedded log both are one.
        """
        settings = self.settings
        is_alone = settings.iggy.address is None and not settings.kafka.bootstrap_servers
        return is_alone or bool(settings.ledger_url) or (settings.home / "ledger.sqlite").exists()

    def report_progress(self, stage: str, done: int, total: int, unit: str, records: int) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total, unit, records))

    @cached_property
    def ledger(self) -> Ledger:
        from vcf_pipeline.adapters.ledger.ledger import open_ledger

        _ = self.home
        return open_ledger(self.settings.ledger_address)

    @cached_property
    def notices(self) -> Notices:
        from vcf_pipeline.stages.notify import Notices

        return Notices(lambda: self.coordinator)

    @cached_property
    def tables(self) -> Tables:
        from vcf_pipeline.adapters.tables import Tables

        _ = self.home
        return Tables(make_private_dir(self.settings.data))

    @cached_property
    def source_tables(self) -> SourceTables:
        from vcf_pipeline.adapters.sources import SourceTables

        return SourceTables(self.tables.root)

    @property
    def registered(self) -> Registered:
        """The sources of every tenant, as triage asks for them."""
        from vcf_pipeline.stages.joined_sources import Registered

        return Registered(self.source_tables, self.ledger.sources)

    @cached_property
    def lancedb(self) -> LanceVariants:
        from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants

        return LanceVariants(self.tables.root)

    @cached_property
    def lancedb_annotations(self) -> LanceAnnotations:
        from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations

        return LanceAnnotations(self.tables.root)

    def embedder(self, tenant: str) -> Embedder:
        """Whoever is configured to make the tenant's vectors; nothing is connected yet. Raises UnknownPrice."""
        return configured_embedder(self.settings, tenant, self.ledger.books)

    @property
    def embedder_standing_in(self) -> Embedder | None:
        """Who makes vectors where the configured model cannot: by words alone, or nobody, as the settings say."""
        from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder

        return HashingEmbedder() if self.settings.ai.fallback_to_rules else None

    @cached_property
    def explainer(self) -> Explainer:
        """Whoever explains alleles, by the settings. Nothing is connected before it is asked."""
        from vcf_pipeline.adapters.providers import router as routing
        from vcf_pipeline.adapters.providers.explainer import Explainer
        from vcf_pipeline.adapters.providers.runs import Options
        from vcf_pipeline.domain.annotation.answer import read_answer

        settings, ai = self.settings, self.settings.ai
        options = Options(
            names=ai.provider_names,
            balance=ai.balance,
            attempt_timeout_s=ai.attempt_timeout_s,
            deadline_s=ai.deadline_s,
            hedge_after_s=ai.hedge_after_s,
            consensus=ai.consensus,
            fallback_to_rules=ai.fallback_to_rules,
            budget_microusd=ai.budget_microusd,
        )
        ledger = self.ledger

        def make() -> tuple[Router, list[Member], Books]:
            members, books = provider_members(settings), ledger.books()
            router = routing.Router(members, books, rules_annotator(), read_answer, options, self.tell)
            return router, members, books

        return Explainer(make, ai.allowed)

    def wanted(self, tenant: str) -> Wanted:
        """Which alleles are explained, and by whom, for this tenant."""
        from vcf_pipeline.stages.annotate import RULES, Wanted

        ai = self.settings.ai
        allowed = ai.allowed(tenant)
        models = {member.name: member.provider.model for member in provider_members(self.settings)}
        # whoever stands behind `rules` is never asked
        asked = allowed[: allowed.index(RULES) + 1] if RULES in allowed else allowed
        return Wanted(
            tiers=ai.tier_numbers,
            annotators=tuple((name, models.get(name, RULES)) for name in asked),
            consensus=ai.consensus,
            may_fall_back=ai.fallback_to_rules,
            budget_microusd=ai.budget_microusd,
            presets={source.name: source.preset for source in self.ledger.sources(tenant)},
        )

    @property
    def known(self) -> Known:
        """Everything that a single variant is looked up in, of the tenant of the settings."""
        from vcf_pipeline.stages.explain_variant import Known

        tenant = self.settings.tenant

        def dead_letter(body: bytes, origin: str, reason: str) -> None:
            self.coordinator.dead_letter(body, origin=origin, reason=reason, code=BadAnswer.code, tenant=tenant)

        return Known(
            tenant=tenant,
            ledger=self.ledger,
            tables=self.tables,
            store=self.lancedb,
            registered=self.registered,
            thresholds=self.settings.triage.to_thresholds(),
            explainer=self.explainer,
            presets={source.name: source.preset for source in self.ledger.sources(tenant)},
            dead_letter=dead_letter,
        )

    @cached_property
    def kuzu(self) -> KuzuGraph:
        from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph

        graph = self.settings.graph
        return KuzuGraph(
            self.tables.root, buffer_pool_bytes=graph.buffer_pool_bytes, all_up_to_alleles=graph.all_up_to_alleles
        )

    def close(self) -> None:
        super().close()
        if "explainer" in self.__dict__:
            self.explainer.close()
        if "ledger" in self.__dict__:
            self.ledger.close()
