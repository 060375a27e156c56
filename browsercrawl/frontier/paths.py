"""How many links of one path are stored: a site that makes up queries without end must not fill the frontier."""

from hashlib import blake2b

from browsercrawl.request import Request


def path_key(request: Request) -> bytes | None:
    """Return what requests of a session have in common that differ in their query only; None: it has no query."""
    path, mark, _ = request.address.canonical.partition("?")
    if not mark:
        return None
    return blake2b(f"{path} {request.session_key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
