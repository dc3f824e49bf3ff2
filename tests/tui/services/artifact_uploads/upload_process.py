"""A process that uploads a job's files until it is killed.

python upload_process.py HOME
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.tui.services.artifact_uploads.completed import at_home, worker_for
from tui.services.supabase.settings import load_settings


async def main(home: Path) -> None:
    settings = load_settings()
    assert settings is not None
    async with at_home(home) as (session, _):
        await worker_for(session, settings).look()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
