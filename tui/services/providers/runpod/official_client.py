"""Pods through RunPod's official package: list, look at, terminate.

The package is synchronous, so each call runs in a thread. It takes its key and the API's address
from the process (`runpod.api_key`, `RUNPOD_API_BASE_URL`), so calls of two accounts never overlap.
Version 2.0.0rc2 cannot order a pod with a CUDA floor, and drops a 429's Retry-After: the first goes
through `transport`, and so does what is asked again after the second.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from shared.errors import InvalidMachineRequest, ProviderError, ProviderUnreachable
from tui.services.providers.runpod.answers import Refusal, Request, error_of, never_sent, unsure
from tui.services.providers.runpod.api_key import BASE_URL_VARIABLE

INSTALL = "Renting at RunPod needs a package that is not installed: pip install 'brightrun[runpod]'"

Result = TypeVar("Result")


class RateLimited(ProviderUnreachable):
    """A 429 whose Retry-After the package has dropped; nothing was done."""


class _Account:
    """Lets calls of one account run side by side, and those of another wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._current: tuple[str, str] | None = None
        self._previous: tuple[str | None, str | None] = (None, None)

    @contextmanager
    def of(self, package: Any, api_key: str, base_url: str) -> Generator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._calls == 0 or self._current == (api_key, base_url))
            if self._calls == 0:
                self._previous = (package.api_key, os.environ.get(BASE_URL_VARIABLE))
                os.environ[BASE_URL_VARIABLE] = base_url
                package.api_key = api_key
                self._current = (api_key, base_url)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                if self._calls == 0:
                    self._restore(package)
                self._changed.notify_all()

    def _restore(self, package: Any) -> None:
        package.api_key, base_url = self._previous
        if base_url is None:
            os.environ.pop(BASE_URL_VARIABLE, None)
        else:
            os.environ[BASE_URL_VARIABLE] = base_url


_ACCOUNT = _Account()


class OfficialClient:
    """One account, through the package."""

    def __init__(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key
        self._base_url = base_url

    async def pods(self) -> list[dict[str, Any]]:
        """All pods of the account.

        Raises:
            RateLimited: ask again by another way.
            ProviderError: nothing is known.
        """
        answer = await self._call(
            Request("GET", "/v2/pods"), lambda package: package.get_pods(api_key=self._api_key)
        )
        if not isinstance(answer, list):
            raise ProviderUnreachable("RunPod, GET /v2/pods: an answer that cannot be read.")
        return answer

    async def pod(self, pod_id: str) -> dict[str, Any] | None:
        """One pod; None after a 404.

        Raises:
            RateLimited: ask again by another way.
            ProviderError: nothing is known.
        """
        answer: dict[str, Any] | None = await self._call(
            Request("GET", f"/v2/pods/{pod_id}"),
            lambda package: package.get_pod(pod_id, api_key=self._api_key),
        )
        return answer

    async def terminate(self, pod_id: str) -> None:
        """Accepted: it is no proof that the pod is gone. One that is unknown is no error.

        Raises:
            RateLimited: ask again by another way.
            ProviderError: it may live on.
        """
        await self._call(
            Request("DELETE", f"/v2/pods/{pod_id}"),
            lambda package: package.terminate_pod(pod_id),
        )

    async def _call(self, request: Request, ask: Callable[[Any], Result]) -> Result | None:
        return await asyncio.to_thread(self._call_in_thread, request, ask)

    def _call_in_thread(self, request: Request, ask: Callable[[Any], Result]) -> Result | None:
        package = _package()
        import requests
        from runpod import error as package_error

        try:
            with _ACCOUNT.of(package, self._api_key, self._base_url):
                return ask(package)
        except package_error.AuthenticationError as error:
            raise error_of(request, Refusal(401, str(error))) from error
        except package_error.QueryError as error:
            if error.status_code == 404:
                return None
            raise _translated(request, error) from error
        except requests.ConnectionError as error:
            raise _no_connection(request, error) from error
        except requests.RequestException as error:
            raise unsure(request, f"{request}: no answer ({type(error).__name__}).") from error
        except (KeyError, TypeError, ValueError) as error:
            # The package takes an answer's fields for granted.
            raise unsure(request, f"{request}: an answer that cannot be read.") from error


def _package() -> Any:
    try:
        import runpod
    except ImportError as error:
        raise InvalidMachineRequest(INSTALL) from error
    return runpod


def _translated(request: Request, error: Any) -> ProviderError:
    errors = error.errors if isinstance(error.errors, list) else []
    translated = error_of(
        request, Refusal(error.status_code or 500, str(error), [str(each) for each in errors])
    )
    if error.status_code == 429:
        return RateLimited(str(translated))
    return translated


def _no_connection(request: Request, error: Exception) -> ProviderError:
    """requests has one class for a connection that was never made, and for one that broke."""
    import requests
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    never_made = (requests.ConnectTimeout, requests.exceptions.SSLError)
    if isinstance(error, never_made) or isinstance(reason, NewConnectionError):
        return never_sent(request, type(reason or error).__name__)
    return unsure(request, f"{request}: the connection broke.")
