"""What only the outside shows: https by Ray Serve, Ray's own token, SASL to Kafka. Each starts its own."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import ray
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ray._raylet import AuthenticationMode, get_authentication_mode

from actors.errors import ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.kafka.producer import ReliableProducer
from cluster.access.secret import Secret
from cluster.api.app import deploy, undeploy
from cluster.config import ServeConfig, load
from cluster.local import LocalStack, broker
from schemas.topics import ACCESS, TOPICS
from tests.cluster.served import free_port
from tests.real_ray import real_ray

pytestmark = pytest.mark.processes


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(cert.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert_file, key_file


INTRUDER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False)
except Exception as error:
    print(type(error).__name__, str(error)[:200])
    sys.exit(7)
"""


def test_serve_answers_by_https_and_ray_lets_nobody_in_without_its_token(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    config = load(serve=ServeConfig(port=port, tls_cert_file=cert, tls_key_file=key))
    nowhere = Cluster("127.0.0.1:1", "http://127.0.0.1:1")
    with real_ray():
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        intruder = subprocess.Popen(
            [sys.executable, "-c", INTRUDER, ray.get_runtime_context().gcs_address],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            url = deploy(config, "tls", nowhere, Secret("s" * 32))
            assert url == f"https://127.0.0.1:{port}/"
            trusted = ssl.create_default_context(cafile=str(cert))
            with httpx.Client(base_url=url, verify=trusted, timeout=20) as http:
                page = http.get("/")
                assert "signin.js" in page.text
                assert page.headers["strict-transport-security"].startswith("max-age=")
                assert http.get("/charts", headers={"Authorization": "Bearer cq_x"}).status_code == 503, (
                    "no Kafka, no keys"
                )
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
            undeploy()
            said, _ = intruder.communicate(timeout=60)
        finally:
            intruder.kill()
    assert intruder.returncode == 7, said


PASSWORD = "hunter2-of-the-app"  # noqa: S105 - of a broker that lives for seconds


def sasl_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let brokers that are started want a name and a password."""
    plain = broker.settings

    def settings(*arguments: object) -> dict[str, str]:
        jaas = (
            'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="b" '
            f'user_broker="b" user_app="{PASSWORD}";'
        )
        return plain(*arguments) | {  # type: ignore[arg-type]
            "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": jaas,
        }

    monkeypatch.setattr(broker, "settings", settings)


def test_librdkafkas_own_settings_are_passed_to_every_client_and_not_told(
    tmp_path: Path, local_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sasl_broker(monkeypatch)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)

    def cluster(password: str) -> Cluster:
        client = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "app",
                  "sasl.password": password}  # fmt: skip
        return Cluster(theirs.bootstrap_servers, client=client)

    with LocalStack(tmp_path / "theirs", local_cache, registry=False) as stack:
        theirs = stack.endpoints
        good, wrong = cluster(PASSWORD), cluster("hunter2-wrong")
        admin = Admin(good.bootstrap_servers, good.client)
        admin.apply(admin.plan({ACCESS: TOPICS[ACCESS]}, 1, 1))
        producer = ReliableProducer(good.bootstrap_servers, good.client)
        assert producer.send(ACCESS, b"x", b"key|x").result(20) == (0, 0)
        producer.close()
        log = KafkaLog(good)
        assert log.read_to_end("g", ACCESS, {0: 1}, 20)[0] == [(b"key|x", b"x")]
        log.close()
        with pytest.raises(ReopenError) as caught:
            Admin(wrong.bootstrap_servers, wrong.client).topics([ACCESS])
        assert "hunter2" not in str(caught.value) + repr(wrong)
    assert "hunter2" not in caplog.text
