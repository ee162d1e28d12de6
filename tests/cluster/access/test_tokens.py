"""Tokens of an issuer, and all the ways in which one is none."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from cluster.access import tokens
from cluster.access.grants import Grant
from cluster.access.tokens import FetchError, Issuer, IssuerKeys, Subject, TokenRefused, Tokens

ISSUER = Issuer(
    "https://id.example.com", "chipquality", "https://id.example.com/jwks", ("RS256", "ES256", "EdDSA"), leeway_s=5.0,
    roles_claim="realm_access.roles", roles={"quality": ("viewer", "operator:limits:ETCH-*"), "boss": ("admin",)},
)  # fmt: skip
RSA, RSA_2 = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
EC, EC_384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm: Any = next((kind[one] for one in kind if isinstance(key, one)), OKPAlgorithm)
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


class Served:
    """The issuer's document, and how often it was fetched."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: list[Any] = list(keys)
        self.fetched = 0
        self.broken: Exception | None = None
        self.now_s = 1_000.0

    def fetch(self, url: str) -> bytes:
        assert url == ISSUER.jwks_url
        self.fetched += 1
        if self.broken:
            raise self.broken
        return json.dumps({"keys": self.keys}).encode()

    def tokens(self) -> Tokens:
        return Tokens(ISSUER, IssuerKeys(ISSUER.jwks_url, self.fetch, lambda: self.now_s))


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    said = {"iss": ISSUER.issuer, "aud": "chipquality", "sub": "ann", "iat": now, "nbf": now, "exp": now + 60,
            "realm_access": {"roles": ["quality", "other"]}, **changed}  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: Any = "a", headers: Any = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": kid, **(headers or {})})


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture
def served() -> Served:
    return Served(jwk(RSA, "a"), jwk(EC, "e", use="sig"), jwk(ED, "d"))


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "a"), (EC, "ES256", "e"), (ED, "EdDSA", "d")])
def test_a_good_token_names_its_subject(
    served: Served, runner: asyncio.Runner, key: Any, algorithm: str, kid: str
) -> None:
    found = runner.run(served.tokens().read(token(key, algorithm, kid)))
    assert (found.name, found.grants) == ("ann", (Grant("viewer"), Grant("operator", "limits", "ETCH-*")))
    assert 60_000 < found.expires_ms - time.time() * 1000 <= 66_000
    assert served.fetched == 1


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def forged(header: dict[str, Any], secret: bytes | None) -> str:
    """Return a token as an attacker writes it, without a library that refuses to."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims())]
    signed = b".".join(parts)
    mac = b"" if secret is None else base64.urlsafe_b64encode(hmac.digest(secret, signed, hashlib.sha256)).rstrip(b"=")
    return (signed + b"." + mac).decode()


def tampered() -> str:
    head, _, signature = token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub="root", realm_access={"roles": ["boss"]})).encode()).rstrip(
        b"="
    )
    return f"{head}.{body.decode()}.{signature}"


NOW = int(time.time())
ATTACKS = {
    "no algorithm": lambda: forged({"alg": "none", "typ": "JWT", "kid": "a"}, None),
    "no algorithm, spelt otherwise": lambda: forged({"alg": "nOnE", "kid": "a"}, None),
    "HS256 with the public key": lambda: forged({"alg": "HS256", "kid": "a"}, public_pem()),
    "HS256 with the modulus": lambda: forged({"alg": "HS256", "kid": "a"}, jwk(RSA, "a")["n"].encode()),
    "RS256 said, HMAC made": lambda: forged({"alg": "RS256", "kid": "a"}, public_pem()),
    "an algorithm that is not allowed": lambda: token(RSA, "RS512"),
    "an algorithm of another kind of key": lambda: token(EC, "ES256", "a"),
    "another key's kid": lambda: token(RSA_2),
    "another issuer": lambda: token(iss="https://evil.example.com"),
    "an issuer that begins so": lambda: token(iss=ISSUER.issuer + ".evil.example.com"),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "no issuer": lambda: token(iss=None),
    "no subject": lambda: token(sub=None),
    "an empty subject": lambda: token(sub=""),
    "a subject with a line break": lambda: token(sub="ann\nroot"),
    "a long subject": lambda: token(sub="a" * 201),
    "no expiry": lambda: token(exp=None),
    "no time of issue": lambda: token(iat=None),
    "expired": lambda: token(exp=NOW - 6),
    "expiry that is no number": lambda: token(exp="soon"),
    "not yet valid": lambda: token(nbf=NOW + 3600, exp=NOW + 7200),
    "issued in the future": lambda: token(iat=NOW + 3600, exp=NOW + 7200, nbf=None),
    "an unknown kid": lambda: token(kid="zzz"),
    "no kid": lambda: jwt.encode(claims(), RSA, "RS256"),
    "a key of its own in the header": lambda: token(RSA_2, kid="mine", headers={"jwk": jwk(RSA_2, "mine"), "jku": "https://evil"}),
    "a path as kid": lambda: token(kid="../../dev/null"),
    "tampered": tampered,
    "cut": lambda: token()[:-3],
    "no token": lambda: "a.b.c",
    "two parts": lambda: token().rpartition(".")[0],
    "not ASCII": lambda: token() + "é",
    "too long": lambda: token(padding="x" * 9_000),
    "a critical header that we do not know": lambda: token(headers={"crit": ["x"], "x": 1}),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_token_names_nobody(served: Served, runner: asyncio.Runner, attack: str) -> None:
    with pytest.raises(TokenRefused):
        runner.run(served.tokens().read(ATTACKS[attack]()))


def test_clocks_may_differ_a_little(served: Served, runner: asyncio.Runner) -> None:
    now = int(time.time())
    assert runner.run(served.tokens().read(token(exp=now - 2, nbf=now + 2))).name == "ann"


def test_a_key_that_says_its_algorithm_is_used_with_no_other(runner: asyncio.Runner) -> None:
    with pytest.raises(TokenRefused, match="not that of the key"):
        runner.run(Served(jwk(RSA, "a", alg="RS512")).tokens().read(token()))
    with pytest.raises(TokenRefused):
        runner.run(Served(jwk(EC_384, "e")).tokens().read(token(EC_384, "ES384", "e")))


def test_keys_that_are_none_are_left_out(runner: asyncio.Runner) -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a"}
    served = Served(secret, jwk(RSA, "enc", use="enc"), {"kty": "RSA", "kid": "b"}, "x", {"kid": 7}, jwk(RSA, "good"))
    judge = served.tokens()
    for kid in ("a", "enc", "b"):
        with pytest.raises(TokenRefused):
            runner.run(judge.read(token(kid=kid)))
    assert runner.run(judge.read(token(kid="good"))).name == "ann"


def test_rotation_a_new_key_is_found_at_once_and_a_withdrawn_one_counts_no_longer(
    served: Served, runner: asyncio.Runner
) -> None:
    judge = served.tokens()

    async def read(*args: Any) -> Subject:
        found = await judge.read(token(*args))
        await asyncio.sleep(0)
        if judge.keys._fetching:
            await judge.keys._fetching
        return found

    runner.run(read())
    served.keys = [jwk(RSA_2, "b")]
    served.now_s += tokens.AGAIN_S + 1
    runner.run(read(RSA_2, "RS256", "b"))
    assert served.fetched == 2
    with pytest.raises(TokenRefused, match="no key of this kid"):
        runner.run(read())
    served.keys = []
    served.now_s += tokens.KEEP_S + 1
    runner.run(read(RSA_2, "RS256", "b"))  # answered at once; the keys are fetched beside it
    with pytest.raises(TokenRefused, match="no key of this kid"):
        runner.run(read(RSA_2, "RS256", "b"))


def test_unknown_kids_do_not_flood_the_issuer(served: Served, runner: asyncio.Runner) -> None:
    judge = served.tokens()

    async def flood() -> None:
        found = await asyncio.gather(*(judge.read(token(kid=str(i))) for i in range(50)), return_exceptions=True)
        assert all(isinstance(one, TokenRefused) for one in found)

    runner.run(flood())
    runner.run(flood())
    assert served.fetched == 1


def test_an_issuer_that_is_away(served: Served, runner: asyncio.Runner) -> None:
    served.broken = FetchError("away")
    judge = served.tokens()
    with pytest.raises(FetchError, match="away"):
        runner.run(judge.read(token()))
    served.broken, served.now_s = None, served.now_s + tokens.AGAIN_S + 1
    assert runner.run(judge.read(token())).name == "ann"
    served.broken = FetchError("away again")
    for _ in range(3):  # what is known counts for a while
        served.now_s += tokens.KEEP_S + 1
        assert runner.run(judge.read(token())).name == "ann"
    served.now_s += tokens.STALE_S
    with pytest.raises(FetchError, match="away again"):
        runner.run(judge.read(token()))
    for document in (b"[]", b'{"keys": 1}', b"no JSON", json.dumps({"keys": [{}] * 101}).encode()):
        keys = IssuerKeys(ISSUER.jwks_url, lambda _, said=document: said)  # type: ignore[misc]
        with pytest.raises(FetchError, match="no keys of the issuer"):
            runner.run(keys.get("a"))


@pytest.mark.processes
def test_keys_are_fetched_with_limits_and_without_redirects() -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/elsewhere" else 200 if self.path != "/missing" else 404)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            self.wfile.write(b"x" * (tokens.FETCH_BYTES_MAX + 1 if self.path == "/large" else 2))

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    try:
        assert tokens.fetch_document(f"{at}/jwks") == b"xx"
        for path, why in (("/elsewhere", "redirects"), ("/missing", "404"), ("/large", "more than")):
            with pytest.raises(FetchError, match=why):
                tokens.fetch_document(at + path)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(FetchError):
        tokens.fetch_document(f"{at}/jwks")
