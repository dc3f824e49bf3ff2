"""`brightrun serve token`: who may use the web application's API."""

from __future__ import annotations

from collections.abc import Sequence

from shared.clean_text import clean_line
from shared.store.store import open_store
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.config import load_config
from tui.services.web_api.tokens import make_token

_HEADERS = ["NAME", "SCOPES", "USER", "MADE", "LAST USED"]


async def create_token(name: str, scopes: Sequence[str], user: str | None, *, as_json: bool) -> int:
    """Print the token on stdout, alone, so that it can be piped to where it is kept.

    Raises:
        InvalidInput: the name is taken, or something is none.
    """
    async with open_store(load_config().database_path) as store:
        token = await make_token(store, name, scopes, user)
    if as_json:
        print_json({"name": name, "token": token, "scopes": list(scopes), "user_id": user})
        return exit_codes.OK
    say(f"token {clean_line(name)!r} ({', '.join(scopes)}); it is shown this once:")
    print(token)
    return exit_codes.OK


async def list_tokens(*, as_json: bool) -> int:
    """By name; never the tokens."""
    async with open_store(load_config().database_path) as store:
        tokens = await store.api_tokens.all()
    if as_json:
        print_json([token.to_dict() for token in tokens])
        return exit_codes.OK
    if not tokens:
        say_line("There is no token: `brightrun serve token create NAME` makes one.")
        return exit_codes.OK
    rows = [
        [
            clean_line(token.name),
            ", ".join(token.scopes),
            token.user_id or "all jobs",
            f"{token.created_at:%Y-%m-%d %H:%M}",
            "never" if token.last_used_at is None else f"{token.last_used_at:%Y-%m-%d %H:%M}",
        ]
        for token in tokens
    ]
    print_table(_HEADERS, rows, shrinking="NAME")
    return exit_codes.OK


async def revoke_token(name: str) -> int:
    """End it.

    Raises:
        InvalidInput: there is none of that name.
    """
    async with open_store(load_config().database_path) as store:
        await store.api_tokens.revoke(name)
    say_line(f"{clean_line(name)} lets nobody in any more.")
    return exit_codes.OK
