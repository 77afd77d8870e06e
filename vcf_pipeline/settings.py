"""Every setting: name, type, default, help. Read by entrances and by wiring alone, never at import.

A variable is VCF_PIPELINE_ and the name in capitals, nested names joined by `__` (VCF_PIPELINE_READER__MODE).
An unknown one is an error with the nearest name. VCF_PIPELINE_TEST_* belong to the tests and are never settings.
Not here: what a setting does (the stage or adapter it is handed to).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from vcf_pipeline.annotation_settings import AiSettings, EmbedderSettings, ProviderSettings
from vcf_pipeline.domain.errors import BadSetting, UnknownSetting
from vcf_pipeline.domain.identity import check_tenant
from vcf_pipeline.domain.stream.iggy_address import IggyAddress
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

PREFIX = "VCF_PIPELINE_"
TEST_PREFIX = "VCF_PIPELINE_TEST_"
ALIASES: dict[str, str] = {
    "IGGY_HOST": "VCF_PIPELINE_IGGY__URL",
    "IGGY_QUIC_PORT": "VCF_PIPELINE_IGGY__QUIC_PORT",
    "IGGY_STREAM_NAME": "VCF_PIPELINE_IGGY__PREFIX",
    "KAFKA_BOOTSTRAP_SERVERS": "VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS",
    "KAFKA_TOPIC_NAME": "VCF_PIPELINE_KAFKA__PREFIX",
    "OPENAI_API_KEY": "VCF_PIPELINE_OPENAI__API_KEY",
    "ANTHROPIC_API_KEY": "VCF_PIPELINE_CLAUDE__API_KEY",
    "OLLAMA_HOST": "VCF_PIPELINE_OLLAMA__BASE_URL",
}
"""Names that VCF Agent's users, and vendors' own programs, have in an environment; the name beside it wins."""
# Kafka takes names that differ by . and _ alone for one, so neither is in ours there
_NAME = r"^([A-Za-z0-9][A-Za-z0-9-]{0,60})?$"
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s,:/@\[\]]+)(:[0-9]{1,5})?")
_IGGY_NAME = r"^([A-Za-z0-9][A-Za-z0-9_-]{0,60})?$"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReaderOptions(_Group):
    """How files are read."""

    engine: Literal["auto", "own", "cyvcf2"] = Field("auto", description="auto: our reader for text, htslib for BCF")
    mode: Literal["quarantine", "strict"] = Field(
        "quarantine", description="quarantine sets bad records aside, strict refuses the file at the first defect"
    )
    max_reject_share: float = Field(0.01, ge=0, le=1, description="share of records that may be set aside, 0-1")
    block_bytes: int = Field(4 << 20, ge=1 << 12, le=64 << 20, description="inflated text parsed at once, bytes")

    def to_reader_settings(self, assembly: str | None = None) -> ReaderSettings:
        return ReaderSettings(
            mode=self.mode,
            engine=self.engine,
            max_reject_share=self.max_reject_share,
            block_bytes=self.block_bytes,
            assembly=assembly,
        )


class TriageOptions(_Group):
    """Thresholds of the rules; written into the manifest."""

    common_af: float = Field(TriageThresholds().common_af, ge=0, le=1, description="AF above it is common (BA1), 0-1")
    rare_af: float = Field(TriageThresholds().rare_af, ge=0, le=1, description="HIGH impact up to it is rare, 0-1")
    missense_af: float = Field(
        TriageThresholds().missense_af, ge=0, le=1, description="MODERATE impact at or below it is rare, 0-1"
    )
    min_qual: float = Field(TriageThresholds().min_qual, ge=0, description="QUAL below it caps the tier")

    def to_thresholds(self) -> TriageThresholds:
        return TriageThresholds(**self.model_dump())


class GraphOptions(_Group):
    """The Kuzu graph."""

    buffer_pool_bytes: int = Field(256 << 20, ge=64 << 20, description="memory that Kuzu may take, bytes")
    all_up_to_alleles: int = Field(20_000, ge=0, description="above it a callset goes in by its linked alleles only")


class SensorOptions(_Group):
    """How sensors listen."""

    hold_seconds: float = Field(4.6, gt=0, lt=50, description="how long a tick listens before it ends empty")
    burst_from: int = Field(8, ge=2, description="pending callsets of one tenant from which a range run pays")
    burst_limit: int = Field(16, ge=2, le=100, description="callsets in one range run at most")


class IggySettings(_Group):
    """Apache Iggy, the first choice; none without a url."""

    url: SecretStr = Field(
        SecretStr(""),
        description="iggy://user:password@host:8090, also iggy+tls, +ws, +wss, +quic, +quic-unverified, +http, +https",
    )
    token: SecretStr = Field(SecretStr(""), description="personal access token, instead of user and password")
    http_url: str = Field("", description="the server's HTTP address; default: http, port 3000 of the same host")
    tls_ca: Path | None = Field(None, description="authority to trust, with iggy+tls and +wss")
    quic_port: int | None = Field(None, gt=0, lt=65536, description="port for iggy+quic:// without one")
    prefix: str = Field("", pattern=_IGGY_NAME, description="begin of our streams' names; default: STREAM__PREFIX")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text and "://" not in text and "@" not in text:
            text = f"iggy://{text}"  # a bare host, as IGGY_HOST gives it
        if text:
            IggyAddress.parse(text, where="VCF_PIPELINE_IGGY__URL")
        return SecretStr(text)

    @property
    def address(self) -> IggyAddress | None:
        """None where no Iggy is configured."""
        text = self.url.get_secret_value()
        return IggyAddress.parse(text, "VCF_PIPELINE_IGGY__URL", self.quic_port) if text else None


class KafkaSettings(_Group):
    """Apache Kafka, the second choice; none without bootstrap servers."""

    bootstrap_servers: str = Field("", description="host:port, several by commas")
    prefix: str = Field("", pattern=_NAME, description="begin of our topics' names; default: STREAM__PREFIX")
    replication: int = Field(0, ge=0, le=16, description="copies of each topic; 0: two where there are two brokers")
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how to talk to it"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-256", description="how to log in, with a sasl_ protocol"
    )
    sasl_username: str = Field("", description="who logs in")
    sasl_password: SecretStr = Field(SecretStr(""), description="the password")
    ssl_ca: Path | None = Field(None, description="file with the certificates to trust, with ssl")

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        """No scheme: how to talk to Kafka is said by its own setting. librdkafka would look for a host of that name."""
        servers = [server.strip() for server in value.split(",")] if value.strip() else []
        for server in servers:
            if not _SERVER.fullmatch(server):
                raise BadSetting(
                    where="VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS",
                    expected="host:port, several by commas",
                    got=repr(server),
                    repair="Without a scheme: VCF_PIPELINE_KAFKA__SECURITY_PROTOCOL says how to talk to it.",
                )
        return ",".join(servers)

    @property
    def security(self) -> dict[str, str]:
        """librdkafka's own names; the password stands in it."""
        if self.security_protocol == "plaintext":
            return {}
        given: dict[str, str] = {"security.protocol": self.security_protocol}
        if self.ssl_ca is not None:
            given["ssl.ca.location"] = str(self.ssl_ca)
        if self.security_protocol.startswith("sasl"):
            given |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.get_secret_value(),
            }
        return given


class StreamSettings(_Group):
    """What holds for every broker, and when another one is taken."""

    prefix: str = Field("vcf-pipeline", pattern=_NAME, min_length=1, description="begin of every name on brokers")
    spool_bytes: int = Field(4 << 30, ge=16 << 20, description="what a sender keeps while no broker is left, bytes")
    fallback_to_batch: bool = Field(
        True, description="what is spooled is run from its file meanwhile, where this home has the ledger"
    )
    connect_timeout_s: float = Field(2.0, gt=0, description="how long a connection may take")
    call_timeout_s: float = Field(10.0, gt=0, description="how long one call to a broker may take")
    frozen_after_s: float = Field(0.8, gt=0, description="a broker that answers nothing for so long is frozen")
    failback_after_s: float = Field(
        5.0, ge=0, description="how long a broker must be well before it is preferred again"
    )
    reconnect_s: float = Field(30.0, ge=0, description="how long to try again where there is no other broker")


class Settings(_Group):
    """What is in force."""

    home: Path = Field(description="local state, absolute; default: the checkout's .vcf-pipeline, or the user's folder")
    data: Path = Field(description="where the tables are; default: HOME/data")
    tenant: str = Field("default", description="whose callsets, where a command does not say")
    profile: Literal["development", "production"] = Field(
        "development", description="development shows rows of data in the Dagster UI, production does not"
    )
    ledger_url: str = Field("", description="SQLAlchemy address of the ledger; default: HOME/ledger.sqlite")
    inbox: Path | None = Field(None, description="folder whose new files become callsets; default: HOME/inbox")
    reader: ReaderOptions = ReaderOptions()
    triage: TriageOptions = TriageOptions()
    graph: GraphOptions = GraphOptions()
    sensor: SensorOptions = SensorOptions()
    iggy: IggySettings = IggySettings()
    kafka: KafkaSettings = KafkaSettings()
    stream: StreamSettings = StreamSettings()
    ai: AiSettings = AiSettings()
    openai: ProviderSettings = ProviderSettings()
    claude: ProviderSettings = ProviderSettings()
    ollama: ProviderSettings = ProviderSettings()
    embedder: EmbedderSettings = EmbedderSettings()

    def provider(self, name: str) -> ProviderSettings:
        """The settings of openai, claude or ollama."""
        found: ProviderSettings = getattr(self, name)
        return found

    @property
    def ledger_address(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.sqlite'}"

    @property
    def inbox_folder(self) -> Path:
        return self.inbox or self.home / "inbox"

    @property
    def log_folder(self) -> Path:
        """The embedded log's databases."""
        return self.home / "log"

    @property
    def spool_folder(self) -> Path:
        return self.home / "spool"


def checkout_root() -> Path | None:
    """The folder with dagster.yaml and workspace.yaml that the package stands in; None for an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "dagster.yaml").is_file() and (root / "workspace.yaml").is_file() else None


def default_home() -> Path:
    root = checkout_root()
    return root / ".vcf-pipeline" if root else Path(platformdirs.user_data_dir("vcf-pipeline", appauthor=False))


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from the environment (os.environ by default); `given` wins over it.

    Raises UnknownSetting for a VCF_PIPELINE_ variable that is none, BadSetting for a value that cannot be.
    """
    env = os.environ if environ is None else environ
    values = _from_environment(env)
    values.update({name: value for name, value in given.items() if value is not None})
    values.setdefault("home", default_home())
    for name in ("home", "data", "inbox"):
        if name in values:
            values[name] = _absolute(name, values[name])
    values.setdefault("data", Path(values["home"]) / "data")
    dagster_home = env.get("DAGSTER_HOME", "")
    if dagster_home and not Path(dagster_home).is_absolute():
        raise BadSetting(
            where="DAGSTER_HOME",
            expected="an absolute path",
            got=repr(dagster_home),
            repair='Unset it, or run: eval "$(vcf-pipeline env)"',
        )
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise BadSetting(
            where=name,
            expected=first["msg"].removeprefix("Input should be "),
            got="a value that is not shown" if _is_secret(first["loc"]) else repr(first["input"]),
            repair="`vcf-pipeline doctor` shows every setting.",
        ) from None
    check_tenant(settings.tenant)
    return settings


TICK_TIMEOUT = "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"


def dagster_environment(settings: Settings) -> dict[str, str]:
    """What Dagster's own commands need, absolute, whatever the current folder is.

    Raises BadSetting for an installed wheel, which has no dagster.yaml beside it.
    """
    root = checkout_root()
    if root is None:
        raise BadSetting(
            where="DAGSTER_HOME",
            expected="a checkout of the project, with dagster.yaml and workspace.yaml",
            got="an installed package",
            repair="Clone the project and run `make setup` there.",
        )
    environment = {
        "DAGSTER_HOME": str(root),
        "VCF_PIPELINE_HOME": str(settings.home),
        # Ticks that listen occupy a thread each of the code server.
        "DAGSTER_GRPC_MAX_WORKERS": "16",
        # The inbox reads every new file once to its end before it answers, and files may be large.
        "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS": "3600",
        # A foreign publication is read once to its end before a tick answers, and a million variants take a while.
        TICK_TIMEOUT: "300",
    }
    if settings.data != settings.home / "data":
        environment["VCF_PIPELINE_DATA"] = str(settings.data)
    return environment


def seconds_of_a_tick(environ: Mapping[str, str] | None = None) -> float:
    """How long Dagster waits for a sensor's answer: what `dagster_environment` says, else Dagster's own minute."""
    env = os.environ if environ is None else environ
    said = [env[name] for name in (TICK_TIMEOUT, "DAGSTER_GRPC_TIMEOUT_SECONDS") if env.get(name, "").isdecimal()]
    return float(said[0]) if said else 60.0


def setting_names() -> Iterator[tuple[str, str, Any]]:
    """(variable, help, default) of every setting, nested ones too: what `doctor` and the reference page print."""
    yield from _names(Settings, PREFIX)


def _names(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, Any]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", field.description or "", None if field.is_required() else field.default


def _is_secret(place: tuple[int | str, ...]) -> bool:
    """Whether what stands there, or within it, may be a password."""
    field: Any = None
    model: Any = Settings
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return any(inner.annotation is SecretStr for inner in model.model_fields.values())
    return model is SecretStr


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    known = {name: name[len(PREFIX) :].lower().split("__") for name, _, _ in setting_names()}
    values: dict[str, Any] = {}
    meant = {ALIASES[alias]: env[alias] for alias in ALIASES if env.get(alias)}
    for name, text in [*meant.items(), *env.items()]:
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise UnknownSetting(
                where=name,
                expected="a variable this program knows",
                got="an unknown one",
                repair=f"Did you mean {near[0]}?" if near else "`vcf-pipeline doctor` shows every setting.",
            )
        *groups, leaf = known[name]
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = text
    return values


def _absolute(name: str, value: Any) -> Path:
    text = str(value).removeprefix("file://")
    path = Path(text)
    if "://" in text or not path.is_absolute():
        raise BadSetting(
            where=PREFIX + name.upper(),
            expected="an absolute local path",
            got=repr(str(value)),
            repair=f"Give the whole path, as in {Path.cwd() / (text if '://' not in text else name)}",
        )
    return path
