"""Pure values and codecs for everything that crosses a socket. No I/O, no asyncio, no knowledge of who sends them."""
