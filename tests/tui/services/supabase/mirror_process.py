"""The mirror as a process of its own, to be killed; the project stands in its environment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.tui.services.supabase.mirroring import QUICK, session_in
from tui.services.supabase.mirror_worker import MirrorWorker
from tui.services.supabase.settings import load_settings


async def main() -> None:
    settings = load_settings()
    assert settings is not None
    async with session_in(Path(sys.argv[1])) as session:
        await MirrorWorker(session, settings, print, pace=QUICK).run()


if __name__ == "__main__":
    asyncio.run(main())
