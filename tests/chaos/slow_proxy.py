"""Passes TCP on, late, both ways and in order: `slow_proxy.py PORT TARGET_PORT DELAY_SECONDS JITTER_SECONDS`.

It stands alone: tests/chaos/network.py runs it in the network of the part that is to be slow. It ends with
its input.
"""

import asyncio
import os
import random
import sys


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, jitter: float
) -> None:
    """What comes leaves later, never before what came before it."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(65536):
            waiting.put_nowait((loop.time() + random.uniform(delay - jitter, delay + jitter), data))  # noqa: S311
    except OSError:
        pass
    waiting.put_nowait((loop.time() + delay, b""))
    await asyncio.gather(delivery, return_exceptions=True)


async def main(port: int, target: int, delay: float, jitter: float) -> None:
    """Serves until standard input ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back, delay, jitter), pump(there, writer, delay, jitter))

    async with await asyncio.start_server(serve, "0.0.0.0", port):  # noqa: S104  # the part's own network
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        # At once: connections that are still open would be waited for.
        os._exit(0)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
