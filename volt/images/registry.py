"""A registry, OCI distribution-spec: manifests and blobs, every byte checked against its digest.

oras knows references and tokens; what it does not do is here: deadlines, digests, bounds, and credentials for nobody
but the registry's own hosts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from threading import local
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urljoin, urlsplit

import requests
from oras.provider import Registry as Oras
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from volt.errors import NoSuchManifest, RegistryError, WrongContent
from volt.images.config import CONFIG_MOST, parsed
from volt.images.credentials import credentials
from volt.images.manifest import INDEXES, MANIFESTS, Blob
from volt.images.reference import HUB, Reference
from volt.store.place import PREFIX

if TYPE_CHECKING:
    from volt.model.registries import Access

HUB_HOST, HUB_TOKENS = "registry-1.docker.io", "auth.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"  # as docker login has it
_DEADLINES = (10, 30)  # seconds: until it is connected, between two pieces
_STORED = (10, 300)  # the same, where the registry puts away what it has been sent before it answers
_PIECE = 1 << 20
_SLOW, _PATIENCE = 1 << 10, 60  # bytes a second at least, after so many seconds
_OK, _CREATED, _ACCEPTED, _PARTIAL, _NOT_FOUND = 200, 201, 202, 206, 404
_UNKNOWN, _REFUSED = 401, (401, 403)
_NO_REFERRERS = (_NOT_FOUND, 400, 405, 406)  # of registries that came before them
# Without oras's five attempts, which take four minutes to say what the first one said.
_request: Any = Oras.do_request.__wrapped__
_ACCEPT = {"Accept-Encoding": "identity", "Accept": ", ".join((*MANIFESTS, *INDEXES))}


class Registry:
    """One repository of a registry. Raises RegistryError where it cannot be reached."""

    def __init__(self, access: Access, repository: str) -> None:
        self.host = HUB_HOST if access.host == HUB else access.host
        self.repository = repository
        self._access, self._guard = access, _Guard(self.host, access)
        self._base = f"{'http' if access.http else 'https'}://{self.host}/v2"
        self._oras = self._session(self._asked_for())
        names = (access.host, *((_HUB_KEY,) if access.host == HUB else ()), self.host)
        if known := credentials(access.files, dict.fromkeys(names)):
            self._oras.auth._basic_auth = known  # noqa: SLF001 (from a name and a password it would make the same)
        # Else oras reads the caller's own files once more, and asks their helpers, for which it has no deadline.
        self._oras.auth._auth_config = {"auths": {}}  # noqa: SLF001

    def _session(self, kind: str) -> Oras:
        found = Oras(
            hostname=self.host, insecure=self._access.http, tls_verify=self._access.ca or True, auth_backend=kind
        )
        for scheme in ("http://", "https://"):
            found.session.mount(scheme, self._guard)
        return found

    def _asked_for(self) -> str:
        """How the registry wants to know who we are."""
        try:
            with self._session("token").session as session:
                answer = session.get(f"{self._base}/", verify=self._access.ca or True)
                asked = answer.headers.get("Www-Authenticate", "")
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        return "basic" if asked.lower().startswith("basic") else "token"

    def log_in(self, user: str, password: str) -> None:
        """Raises RegistryError where the registry does not know them."""
        self._oras.auth.set_basic_auth(user, password)
        with self._get(f"{self._base}/", {}) as answer:
            self._require(answer, _OK)

    def manifest(self, reference: Reference) -> tuple[bytes, str]:
        """The bytes of a manifest or an index, by tag or by digest, and their media type. Raises RegistryError."""
        asked = f"sha256:{reference.digest}" if reference.digest else reference.version
        with self._ask(f"manifests/{asked}", _ACCEPT) as answer:
            if answer.status_code == _NOT_FOUND:
                raise NoSuchManifest(f"{self.host} has no {self.repository}:{asked}")
            self._require(answer, _OK)
            data = self._whole(answer, "the manifest")
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = hashlib.sha256(data).hexdigest()
        if reference.digest and digest != reference.digest:
            raise WrongContent(f"{self.host} gave sha256:{digest} for {self.repository}@{asked}")
        said = parsed(data, "the manifest").get("mediaType", kind)
        if said not in (*MANIFESTS, *INDEXES):
            raise WrongContent(f"{self.repository}:{asked} is no image: {said}")
        return data, str(said)

    def referrers(self, digest: str, kind: str) -> bytes | None:
        """The index of what hangs on a manifest, `sha256:…`, of a kind where the registry can tell; distribution-spec,
        "Listing Referrers", and where that is not known "Referrers Tag Schema". Raises RegistryError."""
        with self._ask(f"referrers/{digest}?artifactType={quote(kind, safe='')}", _ACCEPT) as answer:
            if answer.status_code == _OK:
                return self._whole(answer, "the list of referrers")
            if answer.status_code not in _NO_REFERRERS:
                self._require(answer, _OK)
        try:
            return self.manifest(Reference(self.repository, digest.replace(":", "-")))[0]
        except NoSuchManifest:
            return None

    def blob(self, blob: Blob, begun: int = 0) -> Iterator[bytes]:
        """The bytes of a blob from `begun` on, never more than it has; the caller compares them with its digest.
        Raises RegistryError, WrongContent where it is not there; ResumeError where the registry begins at the start
        again."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begun}-"} if begun else {})}
        with self._ask(f"blobs/{blob}", headers) as answer:
            if begun and answer.status_code == _OK:
                raise ResumeError
            if answer.status_code == _NOT_FOUND:
                raise WrongContent(f"{self.host} does not have blob {blob}, which a manifest of its names")
            self._require(answer, _PARTIAL if begun else _OK)
            yield from self._pieces(answer, blob, begun)

    def has(self, blob: Blob) -> bool:
        """Whether the repository has a blob. Raises RegistryError."""
        with self._get(self._of(f"blobs/{blob}"), {}, method="HEAD") as answer:
            if answer.status_code != _NOT_FOUND:
                self._require(answer, _OK)
            return answer.status_code == _OK

    def put(self, blob: Blob, body: Body) -> None:
        """Send a blob, in one piece: the registry says where to. Raises RegistryError."""
        with self._get(self._of("blobs/uploads/"), {}, method="POST") as answer:
            self._require(answer, _ACCEPTED)
            where = urljoin(answer.url, answer.headers.get("Location", ""))
        url = f"{where}{'&' if urlsplit(where).query else '?'}digest={blob}"
        # Not as oras asks, which sends everything twice where it is asked who we are, the second time nothing of it.
        headers = {"Content-Type": "application/octet-stream", **self._identity(url)}
        session, verify = self._oras.session, self._access.ca or True
        try:
            answer = session.put(url, data=body, headers=headers, verify=verify, allow_redirects=False, stream=True)
        except requests.RequestException as error:
            self._guard.give_up()
            raise self._unreachable(error) from error
        with answer:
            if answer.status_code in _REFUSED:
                raise self._denied("PUT")
            self._require(answer, _CREATED)

    def put_manifest(self, version: str, data: bytes, kind: str) -> None:
        """What names an image: the last of it that is sent. Raises RegistryError, also for one that the registry calls
        by another digest."""
        headers, digest = {"Content-Type": kind}, f"{PREFIX}{hashlib.sha256(data).hexdigest()}"
        with self._get(self._of(f"manifests/{version}"), headers, method="PUT", data=data) as answer:
            self._require(answer, _CREATED)
            said = answer.headers.get("Docker-Content-Digest", digest)
        if said != digest:
            raise RegistryError(f"{self.host} has {said} for {self.repository}:{version}, which is {digest}")

    def _identity(self, url: str) -> dict[str, str]:
        """Who we are, for the registry itself; where it has us send things to is told nothing."""
        there, known = str(urlsplit(url).netloc), self._oras.auth
        knows = getattr(known, "token", None) or getattr(known, "_basic_auth", None)
        return known.get_auth_header() if knows and self._guard.belongs(there) else {}

    def _whole(self, answer: requests.Response, what: str) -> bytes:
        try:
            return b"".join(_pieces(answer, CONFIG_MOST))
        except _TooMuchError as error:
            raise WrongContent(f"{what} has more than {CONFIG_MOST} bytes") from error
        except requests.RequestException as error:
            raise self._unreachable(error) from error

    def _pieces(self, answer: requests.Response, blob: Blob, begun: int) -> Iterator[bytes]:
        try:
            yield from _pieces(answer, blob.size - begun)
        except _TooMuchError as error:
            raise WrongContent(f"{self.host} sends more than the {blob.size} bytes of blob {blob}") from error
        except requests.RequestException as error:
            raise self._unreachable(error) from error

    def _ask(self, path: str, headers: Mapping[str, str]) -> requests.Response:
        return self._get(self._of(path), headers)

    def _of(self, path: str) -> str:
        return f"{self._base}/{self.repository}/{path}"

    def _get(
        self, url: str, headers: Mapping[str, str], *, method: str = "GET", data: bytes | None = None
    ) -> requests.Response:
        kept = getattr(self._oras.auth, "token", None)
        try:
            answer: requests.Response = _request(self._oras, url, method, data=data, headers=dict(headers), stream=True)
        except requests.RequestException as error:
            self._guard.give_up()
            raise self._unreachable(error) from error
        except (ValueError, AttributeError) as error:  # oras: it was asked who we are, and had no answer
            self._guard.give_up()
            raise self._denied(method) from error
        if answer.status_code == _UNKNOWN and kept:
            answer.close()
            self._oras.auth.token = None  # it may have come to its end, which oras does not think of
            return self._get(url, headers, method=method, data=data)
        if answer.status_code in _REFUSED:
            answer.close()
            raise self._denied(method)
        return answer

    def _require(self, answer: requests.Response, status: int) -> None:
        if answer.status_code != status:
            raise RegistryError(f"{self.host} answers {answer.status_code} for {urlsplit(answer.url).path}")

    def _denied(self, method: str) -> RegistryError:
        hint = f"volt login {self.host}, if the name is right"
        what = "have" if method in ("GET", "HEAD") else "write to"
        return RegistryError(f"{self.host} does not let us {what} {self.repository or 'anything'}", hint=hint)

    def _unreachable(self, error: Exception) -> RegistryError:
        if isinstance(error, requests.exceptions.SSLError):
            hint = f'write [registries."{self.host}"] ca = "/path/of/ca.pem" into /etc/volt/config.toml'
            return RegistryError(f"{self.host} is not who it says it is: {_cause(error)}", hint=hint)
        return RegistryError(f"{self.host} cannot be reached: {_cause(error)}")


class Body(Protocol):
    """A file on its way out."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def read(self, most: int = -1, /) -> bytes: ...


class ResumeError(Exception):
    """A registry that cannot go on where it has stopped."""


class _Guard(HTTPAdapter):
    """Everything that goes out passes here: with a deadline, encrypted, and with credentials for the registry alone."""

    def __init__(self, host: str, access: Access) -> None:
        super().__init__()
        self._own, self._http = {host, access.tokens}, access.http
        self._last = local()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        there = str(url.netloc).rpartition("@")[2]
        if url.scheme != "https" and not (self._http and there in self._own):
            raise requests.RequestException(f"{there} would be asked in the clear")
        if "Authorization" in request.headers and not self.belongs(there):
            raise requests.RequestException(f"{there} wants the credentials, and is another's")
        options["timeout"] = _STORED if request.method == "PUT" else _DEADLINES
        answer = self._last.answer = super().send(request, *args, **{**options, "stream": True})
        if not options.get("stream"):  # what oras asks for tokens
            answer._content = b"".join(_pieces(answer, CONFIG_MOST, decode=True))  # noqa: SLF001 (as it reads itself)
            answer._content_consumed = True  # noqa: SLF001
        return answer

    def give_up(self) -> None:
        """Close what this thread has been answered last, which nobody else has in hand."""
        answer = getattr(self._last, "answer", None)
        if answer is not None:
            answer.close()

    def belongs(self, host: str) -> bool:
        """The registry, and what the settings name; Docker's own has a host for tokens that everybody knows."""
        return host in self._own or (HUB_HOST in self._own and host == HUB_TOKENS)


class _TooMuchError(requests.RequestException):
    """More bytes than there can be."""


def _pieces(answer: requests.Response, most: int, *, decode: bool = False) -> Iterator[bytes]:
    """As they come: whoever drips is left. Raises RequestException."""
    start, got = time.monotonic(), 0
    try:
        while piece := answer.raw.read1(_PIECE, decode_content=decode):
            got += len(piece)
            if got > most:
                raise _TooMuchError(f"more than {most} bytes")
            yield piece
            waited = time.monotonic() - start
            if waited > _PATIENCE and got < waited * _SLOW:
                raise requests.RequestException(f"it sends less than {_SLOW} bytes a second")
    except HTTPError as error:
        raise requests.RequestException(str(error)) from error


def _cause(error: Exception) -> str:
    """The innermost reason, without the layers of libraries around it."""
    reason: Any = error
    while getattr(reason, "args", ()) and isinstance(reason.args[0], Exception):
        reason = reason.args[0]
    reason = getattr(reason, "reason", reason)
    return str(reason).partition(" (_ssl.c")[0]
