"""The server's secret: from a file or the environment only. Hashes of keys and signatures of sessions stand on it.

Who changes it makes every key and every session worthless at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors.errors import ConfigError
from cluster.config import Config

CHARS_MIN = 32
FILE = "access.secret"  # in `local.directory`, for a Kafka of ours
FILE_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Purpose = Literal["digest", "seal", "session"]


@dataclass(frozen=True)
class Secret:
    """What nobody may see. Every purpose has a key of its own, derived from it."""

    text: str = field(repr=False)

    def mac(self, purpose: Purpose, message: bytes) -> bytes:
        """Return HMAC-SHA-256 of a message under the key of a purpose: 32 bytes."""
        key = hmac.digest(self.text.encode(), f"chipquality {purpose}".encode(), hashlib.sha256)
        return hmac.digest(key, message, hashlib.sha256)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        """Travel to the replicas of the API; Ray's token guards the way."""
        return Secret, (self.text,)


def secret_of(config: Config, *, ours: bool) -> Secret:
    """Return the secret that is configured, else that of `local.directory`, which is made if Kafka is `ours`.

    Raises ConfigError if there is none, if it is short, or if others can read its file.
    """
    access = config.access
    if access.secret is not None and access.secret_file is not None:
        raise ConfigError("access.secret and access.secret_file are both set: one is enough")
    if access.secret is not None:
        return _checked(access.secret.get_secret_value(), "access.secret (CHIPQUALITY_ACCESS__SECRET)")
    if access.secret_file is not None:
        return _read(access.secret_file, "access.secret_file")
    file = config.local.directory / FILE
    if ours and not file.exists():
        _make(file)
    if file.exists():
        return _read(file, "the secret in local.directory")
    raise ConfigError(
        "access.secret_file is not set: keys of the API are kept as hashes under a secret of your own. Make one "
        "(umask 077; head -c 32 /dev/urandom | base64 > FILE) and name it in CHIPQUALITY_ACCESS__SECRET_FILE"
    )


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "w") as out:
        out.write(secrets.token_urlsafe(32))
    try:
        os.link(new, file)  # whole, or not there; of two that make it at once one wins
    except FileExistsError:
        pass
    finally:
        new.unlink()


def _read(file: Path, setting: str) -> Secret:
    try:
        mode, text = file.stat().st_mode, file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {file} cannot be read") from error
    if mode & _OTHERS:
        raise ConfigError(f"{setting}: others can read {file}: chmod 600 {file}")
    return _checked(text, f"{setting}: {file}")


def _checked(text: str, what: str) -> Secret:
    if len(text) < CHARS_MIN:
        raise ConfigError(f"{what} has {len(text)} characters; a secret has at least {CHARS_MIN}, chosen at random")
    return Secret(text)
