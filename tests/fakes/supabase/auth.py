"""The part of Supabase's auth server that a login needs: password and refresh grants, `/user`.

Tokens are HS256, signed with the secret that PostgREST and Storage check them with.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt

PASSWORD = "correct horse battery staple"
"""Everybody's."""


class AuthStub:
    """Who exists, and which refresh tokens hold."""

    def __init__(self, secret: str, now_s: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now_s = now_s
        self.users: dict[str, str] = {}
        """User id by e-mail."""
        self.token_lifetime_s = 3600
        self._refresh_tokens: dict[str, str] = {}

    def add_user(self, email: str) -> str:
        self.users[email] = str(uuid.uuid4())
        return self.users[email]

    def mint(self, role: str, expires_in_s: float, **claims: Any) -> str:
        """A token as the auth server signs it."""
        now = int(self._now_s())
        body = {"iss": "supabase", "iat": now, "exp": int(now + expires_in_s), "role": role}
        return jwt.encode({**body, **claims}, self._secret, algorithm="HS256")

    def token_for(self, user_id: str, expires_in_s: float) -> str:
        return self.mint(
            "authenticated",
            expires_in_s,
            sub=user_id,
            aud="authenticated",
            email=self._email(user_id),
        )

    def log_everybody_out(self) -> None:
        """No refresh token holds any more."""
        self._refresh_tokens.clear()

    def answer(
        self, method: str, path: str, query: str, body: bytes, bearer: str
    ) -> tuple[int, Any]:
        """(status, JSON) of a request below /auth/v1."""
        if (method, path) == ("POST", "/token"):
            try:
                asked = json.loads(body)
            except ValueError:
                return _problem(400, "bad_json", "Could not parse request body as JSON")
            if "grant_type=password" in query:
                return self._password_grant(asked)
            if "grant_type=refresh_token" in query:
                return self._refresh_grant(asked)
            return _problem(400, "validation_failed", "unsupported_grant_type")
        if (method, path) == ("GET", "/user"):
            return self._user(bearer)
        if (method, path) == ("POST", "/logout"):
            return 204, None
        if (method, path) in (("GET", "/health"), ("GET", "/settings")):
            return 200, {"name": "GoTrue", "version": "stub"}
        return _problem(404, "not_found", "404 page not found")

    def _password_grant(self, asked: dict[str, str]) -> tuple[int, Any]:
        user_id = self.users.get(asked.get("email", ""))
        if user_id is None or asked.get("password") != PASSWORD:
            return _problem(400, "invalid_credentials", "Invalid login credentials")
        return 200, self._session(user_id)

    def _refresh_grant(self, asked: dict[str, str]) -> tuple[int, Any]:
        user_id = self._refresh_tokens.pop(asked.get("refresh_token", ""), None)
        if user_id is None:
            said = "Invalid Refresh Token: Already Used"
            return _problem(400, "refresh_token_already_used", said)
        return 200, self._session(user_id)

    def _session(self, user_id: str) -> dict[str, Any]:
        refresh = uuid.uuid4().hex[:12]
        self._refresh_tokens[refresh] = user_id
        return {
            "access_token": self.token_for(user_id, self.token_lifetime_s),
            "token_type": "bearer",
            "expires_in": self.token_lifetime_s,
            "expires_at": int(self._now_s()) + self.token_lifetime_s,
            "refresh_token": refresh,
            "user": self._described(user_id),
        }

    def _user(self, bearer: str) -> tuple[int, Any]:
        try:
            claims = jwt.decode(
                bearer, self._secret, algorithms=["HS256"], audience="authenticated"
            )
        except jwt.InvalidTokenError as error:
            return _problem(403, "bad_jwt", f"invalid JWT: unable to parse or verify: {error}")
        return 200, self._described(claims["sub"])

    def _described(self, user_id: str) -> dict[str, Any]:
        email = self._email(user_id)
        return {"id": user_id, "aud": "authenticated", "role": "authenticated", "email": email}

    def _email(self, user_id: str) -> str:
        return next((email for email, known in self.users.items() if known == user_id), "")


def _problem(status: int, code: str, said: str) -> tuple[int, dict[str, Any]]:
    return status, {"code": status, "error_code": code, "msg": said}
