"""A mail server that takes everything and answers DATA after a while.

python -m tests.bench.sink PORT MILLISECONDS
"""

import asyncio
import sys
from typing import cast

import uvloop

_GREETING = b"220 sink\r\n"
_ANSWERS = {b"EHLO": b"250-sink\r\n250 8BITMIME\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}


class Sink(asyncio.Protocol):
    """One connection, as little of SMTP as smtplib needs."""

    delay_seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own class, which is none of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._buffer = b""
        self._in_mail = False
        self._transport.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._in_mail else b"\r\n"
            line, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            if self._in_mail:
                self._in_mail = False
                loop = asyncio.get_running_loop()
                loop.call_later(self.delay_seconds, self._transport.write, b"250 taken\r\n")
                continue
            verb = line[:4].upper()
            self._in_mail = verb == b"DATA"
            self._transport.write(_ANSWERS.get(verb, b"250 fine\r\n"))
            if verb == b"QUIT":
                self._transport.close()


async def serve(port: int, delay_seconds: float) -> None:
    """Until the process is ended."""
    Sink.delay_seconds = delay_seconds
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
