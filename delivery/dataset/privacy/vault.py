"""The client's key, and the encrypted file that says which value a placeholder stands for.

Neither lies with the data: whoever has the rows has placeholders, whoever has rows and vault still has nothing without the
key. A line of the vault as it may stand there::

    {"placeholder": "[EMAIL_K3TQ7ZW2AB]", "sealed": "mXq...Zg=="}
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from filelock import FileLock

from delivery.errors import ConfigError, IntegrityError

KEY_BYTES = 32
_NONCE_BYTES = 12


def client_key(path: Path) -> bytes:
    """The key of a client, made on first use: 32 random bytes, as hexadecimal text in a file that its owner alone may read.

    Processes that begin at once get the same key: the file appears whole or not at all, and the first one stays.

    Raises:
        ConfigError: the file cannot be read or made, or holds no key.
    """
    try:
        if not path.exists():
            _make_key(path)
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(f"{path}: the client's key cannot be read or made ({error.strerror}); check the folder") from error
    except ValueError as error:
        raise ConfigError(f"{path}: holds no key; put the right one back: what it hid cannot be restored without it") from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: holds a key of {len(key)} bytes, not {KEY_BYTES}; put the right one back")
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # Unlike a rename, a link never replaces the key of a process that was first.
            os.link(temporary, path)
        except FileExistsError:
            return
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


class Vault:
    """Placeholders and the values they stand for, each sealed with AES-256-GCM and bound to its placeholder.

    JSON lines, only ever added to. A line torn by a kill is not read, and cut off by the next ``keep``.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            IntegrityError: a whole line is no entry.
            ConfigError: the file cannot be read.
        """
        self._path = path
        self._sealed: dict[str, str] = {}
        try:
            with path.open("rb") as stream:
                self._read(stream)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"{path}: the vault cannot be read ({error.strerror}); check the permissions") from error

    def __len__(self) -> int:
        return len(self._sealed)

    def __contains__(self, placeholder: str) -> bool:
        return placeholder in self._sealed

    def keep(self, values: Mapping[str, str], key: bytes) -> int:
        """Add the values of placeholders that are not yet known, and say how many these were; on the disk on return.

        Safe beside other processes: each reads what the others added before it adds its own.

        Raises:
            IntegrityError: the vault was made with another key.
            ConfigError: the file cannot be written.
        """
        if all(placeholder in self._sealed for placeholder in values):
            return 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(f"{self._path}.lock", mode=0o600), open(self._path, "a+b", opener=_owner_only) as stream:
                stream.seek(0)
                stream.truncate(self._read(stream))
                self._refuse_other_key(key)
                new = {placeholder: value for placeholder, value in values.items() if placeholder not in self._sealed}
                sealed = {placeholder: _seal(placeholder, value, key) for placeholder, value in new.items()}
                lines = (orjson.dumps({"placeholder": p, "sealed": s}) + b"\n" for p, s in sealed.items())
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ConfigError(f"{self._path}: the vault cannot be written ({error.strerror}); check the folder") from error
        self._sealed |= sealed
        return len(sealed)

    def value(self, placeholder: str, key: bytes) -> str | None:
        """What a placeholder stands for; None where the vault does not know it.

        Raises:
            IntegrityError: the entry was sealed with another key, or changed since.
        """
        sealed = self._sealed.get(placeholder)
        if sealed is None:
            return None
        try:
            content = base64.b64decode(sealed)
            data = _cipher(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], placeholder.encode())
        except (InvalidTag, ValueError) as error:
            what = f"{self._path}: {placeholder} does not open with this key; give the key that the rows were redacted with"
            raise IntegrityError(what) from error
        return data.decode("utf-8", "surrogatepass")

    def _read(self, stream: BinaryIO) -> int:
        """Take in the entries, and say where the last whole line ends."""
        end = 0
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                entry = orjson.loads(line)
                self._sealed.setdefault(entry["placeholder"], entry["sealed"])
            except (ValueError, TypeError, KeyError) as error:
                what = f"{self._path}:{number}: is no entry of a vault; put the file back as it was"
                raise IntegrityError(what) from error
        return end

    def _refuse_other_key(self, key: bytes) -> None:
        for placeholder in self._sealed:
            self.value(placeholder, key)
            return


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _seal(placeholder: str, value: str, key: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return base64.b64encode(
        nonce + _cipher(key).encrypt(nonce, value.encode("utf-8", "surrogatepass"), placeholder.encode())
    ).decode()


def _cipher(key: bytes) -> AESGCM:
    """The cipher of the vault: its key is derived (HKDF, RFC 5869), so it is never the one that makes placeholders."""
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=b"delivery vault").derive(key))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
