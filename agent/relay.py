"""Copies stdin and stdout to and from a Unix socket, where SSH may not forward to one.

    python -P -m agent.relay SOCKET

It ends when either side is gone, and knows nothing of what it carries. One is started for each
connection, so it imports the standard library only, and little of that.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

_CHUNK_BYTES = 65_536
_STDIN = 0
_STDOUT = 1
_GONE = select.POLLHUP | select.POLLERR
EXIT_CODE_NO_AGENT = 69
"""EX_UNAVAILABLE of sysexits.h: nobody answers on the socket."""


def main() -> None:
    """Carry bytes both ways until one side has gone."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(sys.argv[1])
    except OSError as error:
        print(f"brightrun relay: {sys.argv[1]}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_CODE_NO_AGENT)
    sending = threading.Thread(target=_send, args=(connection,), daemon=True)
    sending.start()
    if _receive(connection):
        # The agent has said everything and still listens: our stdin's end is the end.
        sending.join()
    # The other thread may wait for a stdin that never ends.
    os._exit(0)


def _send(connection: socket.socket) -> None:
    """From stdin to the socket; the end of stdin becomes the end of what the socket reads."""
    try:
        while chunk := os.read(_STDIN, _CHUNK_BYTES):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        # Gone on either side: the receiving end sees it as well.
        return


def _receive(connection: socket.socket) -> bool:
    """From the socket to stdout; True if the agent has only ended its own half."""
    watched = select.poll()
    watched.register(connection, select.POLLIN)
    watched.register(_STDOUT, 0)  # its reader's going away is always told
    while True:
        events = dict(watched.poll())
        if events.get(_STDOUT, 0) & _GONE:
            return False
        if not (found := events.get(connection.fileno(), 0)):
            continue
        try:
            chunk = connection.recv(_CHUNK_BYTES)
            _write(chunk)
        except OSError:
            return False
        if not chunk:
            os.close(_STDOUT)
            return not found & _GONE


def _write(chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(_STDOUT, chunk) :]


if __name__ == "__main__":
    main()
