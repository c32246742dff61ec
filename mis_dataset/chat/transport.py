"""How requests travel: over aiohttp, which takes a quarter of the processor's time that httpx's own connections take.

The ``openai`` package has such a transport, too, but calls it a time-out when a connection breaks.
"""

from __future__ import annotations

from functools import cache
from ssl import SSLContext
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from mis_dataset.backends import require

if TYPE_CHECKING:
    import httpx2


def over_aiohttp(base_url: str, connections: int) -> httpx2.AsyncBaseTransport:
    """A transport to one server with at most so many connections, which stay open; to be used in one event loop.

    The environment's proxy for it is looked up once. What goes wrong is raised as httpx would.

    Raises:
        BackendError: a package of the extra is not installed.
        InvalidURL: of httpx: ``base_url`` is no address.
    """
    aiohttp, httpx = require("aiohttp", "openai"), require("httpx2", "openai")
    server = httpx.URL(base_url)
    # Once, and not by aiohttp, which looks into the environment anew for each request, in a thread.
    proxy = None if proxy_bypass(server.raw_host.decode()) else getproxies().get(server.scheme)

    class Transport(httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        _session: Any = None

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            self._session = session = self._session or aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=connections, ssl=_certificates())
            )
            limits = request.extensions["timeout"]
            timeout = aiohttp.ClientTimeout(sock_connect=limits["connect"], sock_read=limits["read"])
            sent = session.request(
                request.method,
                str(request.url),
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=request.content,
                timeout=timeout,
                proxy=proxy,
                allow_redirects=False,
                auto_decompress=False,
            )
            try:
                async with sent as response:
                    content = await response.read()
            except TimeoutError as error:
                raise httpx.ReadTimeout(str(error)) from error
            except aiohttp.ClientError as error:
                raise httpx.NetworkError(repr(error)) from error
            answer: httpx2.Response = httpx.Response(response.status, headers=response.raw_headers, content=content)
            return answer

        async def aclose(self) -> None:
            if self._session:
                await self._session.close()

    return Transport()


@cache
def _certificates() -> SSLContext:
    context: SSLContext = require("httpx2", "openai").create_ssl_context()
    return context
