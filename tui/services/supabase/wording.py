"""How a project is named to a person: never with the value of its key."""

from __future__ import annotations

from tui.services.supabase.settings import SupabaseSettings


def settings_words(settings: SupabaseSettings) -> str:
    """Project, schema and kind of key."""
    schema = "" if settings.schema == "public" else f", schema {settings.schema}"
    return f"{settings.url}{schema}, {key_words(settings)}"


def key_words(settings: SupabaseSettings) -> str:
    """The kind of key, as a project's settings call it."""
    if settings.key.startswith("sb_"):
        return "secret key" if settings.is_service else "publishable key"
    return "service role key" if settings.is_service else "anon key"
