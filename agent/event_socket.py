"""How a watcher that reads no more is held, and let go in the end.

A frame is sent once the one before it has left the agent, so a watcher costs one frame and the
buffers below it, however far it is behind. One that does not even answer a ping for a minute is
dropped; when it comes back it goes on from its cursor.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 60.0
"""Over a slow link a ping waits behind what was sent before it."""


class EventSocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket, except that a silent peer is forgotten at once."""

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        # Closing alone would wait until the peer has taken what was sent, which it never will.
        self.transport.abort()
