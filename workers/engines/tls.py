"""Whether a server's certificate is looked at. Used by the engines that speak HTTP."""

import ssl


def verification(url: str) -> ssl.SSLContext | bool:
    """What httpx is to verify with. Where there is no TLS, reading all authorities would take longer than many calls.

    A server without TLS gets a context that believes nobody, should it ever be asked with TLS.
    """
    return True if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
