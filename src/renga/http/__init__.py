"""The server: plain ASGI over the one path. The only package that knows both HTTP and the wire types."""
