"""The server's secret, and that none is printed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from actors.errors import ConfigError
from cluster.access.secret import FILE, Secret, secret_of
from cluster.access.sessions import Session, cookie_of, read, set_cookie
from cluster.access.wiring import AccessSettings
from cluster.api.app import _tls
from cluster.config import ServeConfig, load, render

LONG = "hunter2-" * 5


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_is_made_for_a_kafka_of_ours_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load()
    made = secret_of(config, ours=True)
    file = config.local.directory / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(made.text) >= 43
    assert secret_of(config, ours=True) == secret_of(config, ours=False) == made
    assert [path.name for path in file.parent.iterdir()] == [FILE]
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}"):
        secret_of(config, ours=True)


def test_for_another_kafka_it_is_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"access\.secret_file is not set"):
        secret_of(load(), ours=False)


def test_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET", LONG)
    assert secret_of(load(), ours=False).text == LONG
    file = tmp_path / "secret"
    file.write_text(f"{LONG}file\n")
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET_FILE", str(file))
    with pytest.raises(ConfigError, match="both set"):
        secret_of(load(), ours=False)
    monkeypatch.delenv("CHIPQUALITY_ACCESS__SECRET")
    with pytest.raises(ConfigError, match="others can read"):
        secret_of(load(), ours=False)
    file.chmod(0o400)
    assert secret_of(load(), ours=False).text == f"{LONG}file"
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_of(load(), ours=True)


def test_a_secret_is_long_and_not_in_the_yaml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET", "hunter2")
    with pytest.raises(ConfigError, match="at least 32") as caught:
        secret_of(load(), ours=True)
    assert "hunter2" not in str(caught.value)
    (tmp_path / "chipquality.yaml").write_text(f"access: {{secret: {LONG}}}\n")
    with pytest.raises(ConfigError, match="environment only") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_nothing_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET", LONG)
    config = load()
    secret = secret_of(config, ours=False)
    assert "hunter2" not in render(config) + repr(config) + repr(secret) + str(secret)
    assert pickle.loads(pickle.dumps(secret)) == secret  # noqa: S301 - our own
    assert secret.mac("digest", b"x") != secret.mac("session", b"x") != secret.mac("seal", b"x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHIPQUALITY_KAFKA__CLIENT", '{"sasl.password": ["hunter2"]}'),
        ("CHIPQUALITY_KAFKA__CLIENT", '{"sasl.password": "hunter2"'),
        ("CHIPQUALITY_REGISTRY__CLIENT", '["hunter2"]'),
        ("CHIPQUALITY_NOTIFY__ROUTES", '[{"urls": ["json://ann:hunter2@host"]}]'),
        ("CHIPQUALITY_NOTIFY__ROUTES", '[{"name": "x", "urls": "json://ann:hunter2@host"}]'),
        ("CHIPQUALITY_NOTIFY__ROUTES", "json://ann:hunter2@host"),
        ("CHIPQUALITY_ACCESS__SECRET", '{"hunter2": 1}'),
    ],
)
def test_a_bad_setting_does_not_tell_what_was_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    if name == "CHIPQUALITY_ACCESS__SECRET":
        assert "hunter2" not in render(load())
        return
    with pytest.raises(ConfigError) as caught:
        load()
    error: BaseException | None = caught.value
    assert "bad configuration" in str(error)
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "chipquality.yaml").write_text('kafka: {client: {sasl.password: "hunter2}}\n')
    with pytest.raises(ConfigError, match="not YAML at line") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_settings_of_the_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    oidc = '{"issuer": "https://id", "audience": "a", "jwks_url": "%s", "algorithms": ["%s"], "roles": {"q": ["%s"]}}'
    for url, algorithm, ok in (
        ("https://id/jwks", "ES256", True), ("http://127.0.0.1:1/jwks", "RS256", True), ("http://id/jwks", "RS256", False),
        ("file:///etc/passwd", "RS256", False), ("https://id/jwks", "HS256", False), ("https://id/jwks", "none", False),
    ):  # fmt: skip
        monkeypatch.setenv("CHIPQUALITY_ACCESS__OIDC", oidc % (url, algorithm, "viewer"))
        if ok:
            oidc_config = load().access.oidc
            assert oidc_config
            assert oidc_config.algorithms == [algorithm]
        else:
            with pytest.raises(ConfigError, match=r"access\.oidc"):
                load()
    from actors.kafka.client import Cluster

    monkeypatch.setenv("CHIPQUALITY_ACCESS__OIDC", oidc % ("https://id/jwks", "ES256", "root"))
    with pytest.raises(ConfigError, match=r"access\.oidc\.roles\.q: .*no role 'root'"):
        AccessSettings.of(load(), Cluster("h:1"), Secret(LONG))
    monkeypatch.setenv("CHIPQUALITY_ACCESS__OIDC", oidc % ("https://id/jwks", "ES256", "viewer"))
    settings = AccessSettings.of(load(), Cluster("h:1"), Secret(LONG))
    assert settings.issuer
    assert settings.issuer.roles == {"q": ("viewer",)}
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("CHIPQUALITY_ACCESS__CORS_ORIGINS", '["*"]')
    with pytest.raises(ConfigError, match="every site"):
        AccessSettings.of(load(), Cluster("h:1"), Secret(LONG))


def test_tls_wants_both_files_and_says_what_is_wrong(tmp_path: Path) -> None:
    assert _tls(load()) == {}
    with pytest.raises(ConfigError, match="go together"):
        _tls(load(serve=ServeConfig(tls_cert_file=tmp_path / "c")))
    with pytest.raises(ConfigError, match=r"serve\.tls_cert_file"):
        _tls(load(serve=ServeConfig(tls_cert_file=tmp_path / "c", tls_key_file=tmp_path / "k")))


def test_a_cookie_is_ours_unchanged_and_not_over() -> None:
    secret, other = Secret(LONG), Secret(LONG + "x")
    session = Session("5e", "6b", 1_000)
    cookie = cookie_of(secret, session)
    assert read(secret, cookie, 0) == session
    assert read(other, cookie, 0) is None
    for bad in (cookie[:-1], cookie[1:], cookie + "0", cookie.partition(".")[0], "", ".", "é." + "0" * 64, "x" * 2_000):
        assert read(secret, bad, 0) is None
    assert "Secure" in set_cookie(cookie, 60, secure=True)
    said = set_cookie(cookie, 60, secure=False)
    assert said == f"cq_session={cookie}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
