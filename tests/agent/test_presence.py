from __future__ import annotations

from agent.presence import Presence


def test_nobody_is_there_since_the_last_request_ended():
    now = [100.0]
    presence = Presence(lambda: now[0])
    now[0] = 130.0
    assert presence.idle_s == 30
    with presence.request():
        with presence.request():
            now[0] = 200.0
            assert presence.idle_s == 0
        assert presence.idle_s == 0
    now[0] = 210.0
    assert presence.idle_s == 10


async def test_only_who_has_the_token_is_somebody(pod):
    pod.rent(1)
    await pod.start_agent()
    async with pod.client() as client:
        assert (await client.get("/health")).status_code == 200
    async with pod.client(headers={}) as client:
        assert (await client.get("/health")).status_code == 401
