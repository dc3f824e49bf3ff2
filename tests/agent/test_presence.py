from __future__ import annotations

import pytest

from agent.access import AccessMiddleware
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


@pytest.mark.parametrize(("token", "idle_s"), [(b"Bearer right", 0.0), (b"Bearer wrong", 30.0)])
async def test_only_who_has_the_token_is_somebody(token, idle_s):
    now = [100.0]
    presence = Presence(lambda: now[0])
    now[0] = 130.0

    async def application(scope, receive, send):
        assert presence.idle_s == 0

    async def ignore(*_):
        return {}

    headers = [(b"host", b"agent"), (b"authorization", token)]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    await AccessMiddleware(application, "right", presence)(scope, ignore, ignore)
    assert presence.idle_s == idle_s
