"""One frozen, validated configuration tree: environment > `.env` > YAML > defaults.

Every setting has one name. In the environment `CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap_servers`; the YAML file
is `chipquality.yaml` in the working directory, or what `CHIPQUALITY_CONFIG` names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from actors.engine.arrivals import DEDUPE_WINDOW_MAX, SPAN_MAX_MS, Arrivals
from actors.engine.pacing import SNAPSHOT_BYTES_PER_S
from actors.errors import ConfigError

PARTITIONS_HERE = 2  # on a broker that we start on this machine
PARTITIONS_THERE = 12  # on a Kafka that the configuration points at
_SECRETS = frozenset({"client", "urls", "secret"})  # names of settings whose values are never shown


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaConfig(_Section):
    """Where Kafka is. Nothing set: `make demo` fetches and starts one on this machine."""

    bootstrap_servers: str | None = Field(None, description="host:port,… of your own Kafka; nothing is fetched then")
    client: dict[str, SecretStr] = Field(
        default_factory=dict, description="librdkafka's own settings for every client, e.g. security.protocol, sasl.*"
    )
    replication_factor: int = Field(1, ge=1, le=7, description="of topics that we create")
    partitions: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="of input topics that we create; never changed afterwards. Not set: 12 on your own Kafka, 2 on one of ours",
    )

    @property
    def input_partitions(self) -> int:
        """Return `partitions`, or its default: every partition costs each step a fixed part, which one machine feels."""
        default = PARTITIONS_HERE if self.bootstrap_servers is None else PARTITIONS_THERE
        return default if self.partitions is None else self.partitions


class RegistryConfig(_Section):
    """Where the Schema Registry is (Confluent API)."""

    url: str | None = Field(None, description="base URL of your own registry; nothing is fetched then")
    client: dict[str, SecretStr] = Field(
        default_factory=dict, description="confluent-kafka's registry client settings, e.g. basic.auth.user.info"
    )


class RayConfig(_Section):
    """Where Ray is."""

    address: str | None = Field(None, description="address of your own Ray cluster; none is started then")
    dashboard_port: int = Field(8265, ge=1, le=65535)
    object_store_bytes: int = Field(512 * 1024 * 1024, ge=80 * 1024 * 1024, description="of a Ray that we start")


class ServeConfig(_Section):
    """The API and the page."""

    host: str = Field("127.0.0.1", description="address that the API binds")
    port: int = Field(8000, ge=1, le=65535)
    tls_cert_file: Path | None = Field(None, description="PEM, with the chain: the API answers by https then")
    tls_key_file: Path | None = Field(None, description="PEM, without a password; readable by us only")
    public_origin: str | None = Field(
        None,
        pattern=r"^https?://[a-zA-Z0-9.\-\[\]:]+$",
        description="where browsers find the page if a proxy stands before it, e.g. https://quality.example.com",
    )

    @property
    def https(self) -> bool:
        """Tell whether browsers come by https."""
        return self.tls_cert_file is not None or (self.public_origin or "").startswith("https://")


class LocalConfig(_Section):
    """The broker and registry that we start ourselves."""

    directory: Path = Field(Path(".chipquality"), description="logs and kept data of local processes")
    cache: Path = Field(
        default_factory=lambda: Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "chipquality",
        description="downloaded jars; outside the work tree, shared by all checkouts",
    )
    kafka_port: int = Field(19092, ge=1, le=65535)
    registry_port: int = Field(18081, ge=1, le=65535)


class DetectorConfig(_Section):
    """One detector of a pipeline, and the series it judges."""

    detector: str = Field(description="its name, e.g. spc.ewma; `chipquality detectors list` shows them")
    series: str | list[str] = Field("*", description="which series: patterns of series keys, * and ? for any text")
    label: str = Field("", description="what charts call it, where one detector stands twice in a family")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="its parameters by name; `model`, `reference`: paths of artefacts"
    )

    @property
    def patterns(self) -> list[str]:
        """Return the patterns as a list."""
        return [self.series] if isinstance(self.series, str) else self.series


class DetectorsConfig(_Section):
    """Detectors that come as packages."""

    store: str | None = Field(
        None,
        description="where packages and fitted models lie: a folder that all nodes have, or s3://bucket/prefix (with s3fs); "
        "not set: `detectors` in local.directory",
    )


class PipelineConfig(_Section):
    """The main pipeline; see actors/pipeline.py for what each number bounds."""

    name: str = Field("quality", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    hosting: str = Field(
        "actor", pattern=r"^(actor|owner)$", description="detector families in actors, or in the owner"
    )
    slots: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="owners of the main pipeline that share the partitions; not set: as many as last time, 1 at first",
    )
    standby: bool = Field(
        True, description="start ahead, for every slot, a second owner that takes over, and a spare detector actor"
    )
    phase_one_rows: int = Field(50, ge=10, le=10_000, description="rows of a series from which its limits are learned")
    commit_interval_ms: int = Field(
        50, ge=5, le=1000, description="between two steps at most; they are closer where they take little time"
    )
    snapshot_interval_ms: int = Field(5000, ge=100, le=600_000)
    snapshot_bytes_per_s: int = Field(
        SNAPSHOT_BYTES_PER_S,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="of each slot's snapshots, on average; more: less to fold again after a crash",
    )
    dedupe_window: int | None = Field(
        None,
        ge=1,
        le=DEDUPE_WINDOW_MAX,
        description="event ids remembered per partition; a record with one of them is set aside. Not set: none is",
    )
    allowed_lateness_ms: int | None = Field(
        None,
        ge=0,
        le=SPAN_MAX_MS,
        description="how far a row's event time may be behind the largest of its partition. Not set: as far as it likes",
    )
    max_ahead_ms: int | None = Field(
        None,
        ge=0,
        le=SPAN_MAX_MS,
        description="how far a row's event time may be ahead of its Kafka timestamp; set it with allowed_lateness_ms",
    )
    detectors: list[DetectorConfig] | None = Field(
        None, min_length=1, description="what judges; not set: the built-in set of models/builtin.py on every series"
    )

    @property
    def arrivals(self) -> Arrivals:
        """Return what is set aside as a duplicate, late or ahead; see docs/arrivals.md."""
        return Arrivals(self.dedupe_window, self.allowed_lateness_ms, self.max_ahead_ms)


class VectorsConfig(_Section):
    """A second pipeline: multivariate detectors on one vector of `fab.vectors`. Not set: it does not run."""

    vector: str | None = Field(None, description="name of the vector, the last part of its series keys")
    name: str = Field("vectors", pattern=r"^[a-z][a-z0-9-]{0,30}$", description="of the pipeline")
    detectors: list[DetectorConfig] = Field(
        default_factory=list, description="what judges, e.g. multivariate.pca with its model; see `chipquality fit`"
    )


class RouteConfig(_Section):
    """Where alerts are told, and which."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    urls: list[SecretStr] = Field(
        min_length=1,
        description="as apprise has them: mailtos://user:password@mail.example.com?to=quality@example.com, "
        "slack://TokenA/TokenB/TokenC/#line, json://host/path, …",
    )
    severities: list[Literal["warning", "critical"]] = Field(["warning", "critical"], min_length=1)
    states: list[Literal["open", "closed", "escalated"]] = Field(
        ["open", "closed"],
        min_length=1,
        description="tell when an alert opens, when it closes, when it is escalated because nobody acknowledged it in time",
    )
    series: str | list[str] = Field("*", description="of which series: patterns of series keys, * and ? for any text")
    per_minute: int = Field(20, ge=1, le=600, description="messages one by one; what is more is told in a summary")

    @property
    def patterns(self) -> list[str]:
        """Return the patterns as a list."""
        return [self.series] if isinstance(self.series, str) else self.series


class NotifyConfig(_Section):
    """Whom alerts are told. No routes: nobody."""

    routes: list[RouteConfig] = Field(default_factory=list)
    allow_private: bool = Field(
        False,
        description="destinations may be on this machine or in private networks, where they reach what guards nothing",
    )
    stale_s: int = Field(
        6 * 3600,
        ge=60,
        le=30 * 24 * 3600,
        description="an alert that is older when it is read is only counted, in a summary",
    )


class EscalateAfterConfig(_Section):
    """How long an alert may wait to be acknowledged, by severity. Not set: for ever."""

    critical: float | None = Field(900.0, ge=1.0, le=30 * 24 * 3600.0, description="seconds")
    warning: float | None = Field(None, ge=1.0, le=30 * 24 * 3600.0, description="seconds")


class AlertsConfig(_Section):
    """What becomes of alerts that nobody looks at; see docs/alerts.md."""

    escalate_after_s: EscalateAfterConfig = EscalateAfterConfig()
    escalate_stale_s: float = Field(
        24 * 3600.0,
        ge=0.0,
        le=90 * 24 * 3600.0,
        description="an alert that was due for longer than this when it is first seen is left alone",
    )


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class OidcConfig(_Section):
    """Whose tokens (JWT) are believed, and what their roles are here."""

    issuer: str = Field(min_length=1, description="exactly as the tokens say it (iss)")
    audience: str = Field(min_length=1, description="what the tokens must be for (aud)")
    jwks_url: str = Field(
        pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])", description="where the issuer's public keys are"
    )
    algorithms: list[Algorithm] = Field(["RS256"], min_length=1, description="asymmetric only")
    leeway_s: float = Field(30.0, ge=0, le=300, description="how far clocks may differ")
    roles_claim: str = Field("roles", min_length=1, description="a dot goes deeper: realm_access.roles")
    roles: dict[str, list[str]] = Field(
        default_factory=dict,
        description="value of that claim → grants, e.g. {quality: [viewer, operator:limits:ETCH-*]}",
    )
    required_claims: list[str] = Field(default_factory=list, description="beside exp, iat, iss, aud and sub")


class AccessConfig(_Section):
    """Who may use the API. See docs/security.md."""

    secret: SecretStr | None = Field(
        None, description="from the environment only (CHIPQUALITY_ACCESS__SECRET): keys and sessions stand on it"
    )
    secret_file: Path | None = Field(
        None, description="instead: a file that only we can read. Neither, on a Kafka of ours: one is made"
    )
    session_s: int = Field(8 * 3600, ge=60, le=30 * 24 * 3600, description="how long one stays signed in")
    oidc: OidcConfig | None = None
    requests_per_s: float = Field(100.0, gt=0, le=1e6, description="of one caller, on each replica")
    requests_burst: int = Field(300, ge=1, le=1_000_000)
    address_requests_per_s: float = Field(
        200.0, gt=0, le=1e6, description="of one address, before it is known who asks"
    )
    address_requests_burst: int = Field(600, ge=1, le=1_000_000)
    streams_max: int = Field(200, ge=1, le=10_000, description="open at once by one caller, on each replica")
    body_bytes_max: int = Field(4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    cors_origins: list[str] = Field(
        default_factory=list, description="other sites whose scripts may use the API with a key; none: no other site"
    )


class Config(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix="CHIPQUALITY_", env_nested_delimiter="__", env_file=".env", frozen=True, extra="ignore"
    )

    kafka: KafkaConfig = KafkaConfig()
    registry: RegistryConfig = RegistryConfig()
    ray: RayConfig = RayConfig()
    serve: ServeConfig = ServeConfig()
    local: LocalConfig = LocalConfig()
    pipeline: PipelineConfig = PipelineConfig()
    vectors: VectorsConfig = VectorsConfig()
    detectors: DetectorsConfig = DetectorsConfig()
    notify: NotifyConfig = NotifyConfig()
    alerts: AlertsConfig = AlertsConfig()
    access: AccessConfig = AccessConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what the caller says, environment, .env, YAML."""
        file = Path(os.environ.get("CHIPQUALITY_CONFIG", "chipquality.yaml"))
        return init_settings, env_settings, dotenv_settings, YamlConfigSettingsSource(settings_cls, yaml_file=file)


def load(**overrides: Any) -> Config:
    """Read all sources. Raises ConfigError that names each bad setting and its value."""
    file = os.environ.get("CHIPQUALITY_CONFIG")
    if file and not Path(file).is_file():
        raise ConfigError(f"CHIPQUALITY_CONFIG={file}: no such file")
    try:
        _check_file(Path(file or "chipquality.yaml"))
        return Config(**overrides)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'])}{_shown(problem)}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigError("bad configuration: " + "; ".join(lines)) from None  # what was said may hold secrets
    except SettingsError as error:
        raise ConfigError(f"bad configuration: {error}: it is no JSON") from None
    except yaml.YAMLError as error:  # its text quotes the file, which may hold secrets
        at = getattr(error, "problem_mark", None)
        where = f" at line {at.line + 1}" if at is not None else ""
        raise ConfigError(f"{file or 'chipquality.yaml'}: not YAML{where}") from None


def _shown(problem: Mapping[str, Any]) -> str:
    """Return ` = <what was said>`; nothing where that is, or may hold, a secret."""
    said = problem["input"]
    if isinstance(said, dict | list | tuple) or any(part in _SECRETS for part in problem["loc"]):
        return ""
    return f" = {said!r:.100}"


def _check_file(file: Path) -> None:
    """Raise ConfigError if the file is no mapping, or has a section that there is not."""
    said = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    if said is None:
        return
    if not isinstance(said, dict):
        raise ConfigError(f"{file}: sections with settings are wanted, not {said!r:.60}")
    unknown = [str(name) for name in said if name not in Config.model_fields]
    if unknown:
        raise ConfigError(f"{file}: no section {', '.join(unknown)}; there are {', '.join(Config.model_fields)}")
    if isinstance(said.get("access"), dict) and "secret" in said["access"]:
        raise ConfigError(f"{file}: access.secret comes from the environment only; name a file in access.secret_file")


def render(config: Config) -> str:
    """Return the whole tree as YAML, secrets masked."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=True)
    return text


def reveal(client: dict[str, SecretStr]) -> dict[str, str]:
    """Return librdkafka's settings in the clear, for the client only."""
    return {name: secret.get_secret_value() for name, secret in client.items()}
