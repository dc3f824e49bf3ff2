"""Where the key to the RunPod account comes from, and where its API is.

The key stands in the environment or in a file that nobody else can read. It is never printed.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import InvalidMachineRequest, ProviderUnauthorized

KEY_VARIABLE = "RUNPOD_API_KEY"
BASE_URL_VARIABLE = "RUNPOD_API_BASE_URL"
DEFAULT_BASE_URL = "https://api.runpod.io"
"""REST v2; the official package has the same default, and no /v2 in it."""

KEY_FILE = "runpod.key"
_HOW = (
    "Make one at https://console.runpod.io/user/settings (API Keys; it needs read and write), "
    f"then set {KEY_VARIABLE}, or put it into {{path}} and chmod 600 that file."
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def api_key_from(environ: Mapping[str, str], home: Path) -> str:
    """`RUNPOD_API_KEY`, else the file runpod.key in `home`.

    Raises:
        ProviderUnauthorized: there is none, or others can read the file.
    """
    path = home / KEY_FILE
    key = environ.get(KEY_VARIABLE, "").strip() or _key_in(path)
    if not key:
        raise ProviderUnauthorized(f"There is no RunPod API key. {_HOW.format(path=path)}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ProviderUnauthorized(
            f"The RunPod API key has characters that no key has. {_HOW.format(path=path)}"
        )
    return key


def base_url_from(environ: Mapping[str, str]) -> str:
    """`RUNPOD_API_BASE_URL` with or without /v2, else RunPod's own; never with it, nor a slash.

    Raises:
        InvalidMachineRequest: the key would travel in the clear, or it is no address.
    """
    return checked_base_url(environ.get(BASE_URL_VARIABLE, "").strip() or DEFAULT_BASE_URL)


def checked_base_url(base_url: str) -> str:
    """See `base_url_from`."""
    url = base_url.rstrip("/").removesuffix("/v2").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return url
    raise InvalidMachineRequest(
        f"{BASE_URL_VARIABLE}: the API key is sent over https only; "
        f"unset it for {DEFAULT_BASE_URL}, or give an address that begins with https://."
    )


def _key_in(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ProviderUnauthorized(
                f"{path} can be read by others, so the key in it is not used: chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderUnauthorized(
            f"{path} cannot be read ({type(error).__name__}). {_HOW.format(path=path)}"
        ) from error
