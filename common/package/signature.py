"""Sign ``model_info.json``, and check its signature: OpenSSF's ``model-signing``, with a key and offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SUFFIX = ".sig"


def sign(model_info: str | Path, private_key: str | Path) -> Path:
    """Write the signature of a list of packages beside it, in sigstore's format.

    Args:
        model_info: the list.
        private_key: PEM file of an elliptic-curve key, as ``openssl ecparam -name prime256v1 -genkey`` writes it.

    Returns:
        Path of the signature, ``model_info.json.sig``.

    Raises:
        FileNotFoundError: if list or key are missing.
        ValueError: if the key cannot be used, or without ``model-signing``.
    """
    path, key = _existing(model_info, "list of packages"), _existing(private_key, "private key")
    signature = path.with_name(path.name + SUFFIX)
    try:
        _library("signing").Config().use_elliptic_key_signer(private_key=key).sign(path, signature)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{key}: must be the PEM file of an elliptic-curve private key without a password ({error})."
        ) from error
    return signature


def check_signature(model_info: Path, signature: Path, public_key: str | Path, shown: str = "") -> None:
    """Check that a list of packages was signed by the owner of a key.

    Args:
        model_info: the list; it is only hashed.
        signature: what ``sign`` wrote.
        public_key: PEM file of the publisher.
        shown: name of the list in messages.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if it was not signed with this key, or was changed since; or without ``model-signing``.
    """
    key = _existing(public_key, "public key")
    _existing(signature, "signature")
    verifying = _library("verifying")
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model_info, signature)
    except Exception as error:  # the library raises whatever its parsers do for a signature that was made up
        raise ValueError(
            f"{shown or model_info}: was not signed with {key}, or was changed since. Do not use it; get list, "
            "signature and key from the publisher again."
        ) from error


def _existing(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No {what} at {path}.")
    return path


def _library(part: str) -> Any:
    """A part of ``model-signing``, which only those who sign or check signatures install."""
    try:  # an extra: it brings twenty packages
        from model_signing import signing, verifying
    except ImportError as error:
        raise ValueError(
            'Signatures need model-signing. Run: pip install --constraint constraints.txt ".[publish]"'
        ) from error
    return {"signing": signing, "verifying": verifying}[part]
