"""A registry is believed nothing: digests, sizes, speed and who asks for credentials are checked."""

import base64
import gc
import hashlib
import io
import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from volt.errors import RegistryError
from volt.images import registry as module
from volt.images.download import download
from volt.images.folders import downloads, fetching
from volt.images.manifest import Blob
from volt.images.reference import Reference, registry_of
from volt.images.registry import Registry
from volt.model.registries import Access

DATA = bytes(range(256)) * 5000
BLOB = Blob(hashlib.sha256(DATA).hexdigest(), len(DATA))
MANIFEST = json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()
ME = "Basic " + base64.b64encode(b"me:secret").decode()


class Server(ThreadingHTTPServer):
    """Gives what `answers` has for a path: (status, headers, bytes), or what a function of the request says."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {"/v2/": (200, {}, b"{}")}, []

    @property
    def host(self):
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        found = self.server.answers.get(self.path.partition("?")[0], (404, {}, b""))
        status, headers, body = found(self) if callable(found) else found
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, value)
        with suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_PUT(self):
        self.do_POST()

    def finish(self):
        with suppress(OSError):  # who asked has gone: that is what some of these tests are about
            super().finish()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            gc.collect()  # connections that are kept for a next question


@pytest.fixture
def server():
    with serving() as one:
        yield one


def reached(server, **more):
    return Registry(Access(server.host, http=True, **more), "a/b")


@pytest.fixture
def known(server, tmp_path):
    """Credentials for this registry, as docker login keeps them."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {server.host: {"auth": ME.removeprefix("Basic ")}}}))
    return (str(path),)


def fetched(registry, state, blob=BLOB):
    state.mkdir(exist_ok=True)
    with fetching(str(state)):
        try:
            download(registry, [blob], str(state), lambda _: None)
            return (state / "downloads" / blob.digest).read_bytes()
        finally:
            for path in (state / "downloads").iterdir():
                path.rename(state / f"left-{path.name}")


# ── manifests


def test_a_manifest_by_its_digest_is_that_one_or_an_error(server):
    digest = hashlib.sha256(MANIFEST).hexdigest()
    server.answers[f"/v2/a/b/manifests/sha256:{digest}"] = (200, {}, MANIFEST)
    server.answers[f"/v2/a/b/manifests/sha256:{BLOB.digest}"] = (200, {}, MANIFEST)
    one = reached(server)
    assert one.manifest(Reference("a/b", "1", digest))[0] == MANIFEST
    with pytest.raises(RegistryError, match=f"gave sha256:{digest} for"):
        one.manifest(Reference("a/b", "1", BLOB.digest))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b""), "has no a/b:1"),
        ((500, {}, b""), "answers 500 for /v2/a/b/manifests/1"),
        ((200, {}, b'{"mediaType": "text/html"}'), "is no image: text/html"),
        ((200, {}, bytes(5 << 20)), "the manifest has more than 4194304 bytes"),
        ((403, {}, b""), "does not let us have a/b"),
    ],
)
def test_what_is_no_manifest_is_named(server, answer, message):
    server.answers["/v2/a/b/manifests/1"] = answer
    with pytest.raises(RegistryError, match=message):
        reached(server).manifest(Reference("a/b", "1"))


# ── what hangs on a manifest

KIND = "application/vnd.example+json"
LIST = b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'


def test_what_hangs_on_a_manifest_is_asked_for_by_its_kind(server):
    server.answers[f"/v2/a/b/referrers/{BLOB}"] = (200, {}, LIST)
    assert reached(server).referrers(str(BLOB), KIND) == LIST
    assert server.asked[-1][0] == f"/v2/a/b/referrers/{BLOB}?artifactType=application%2Fvnd.example%2Bjson"


@pytest.mark.parametrize("status", [400, 404, 405, 406])
def test_a_registry_that_does_not_know_referrers_has_a_list_of_them_under_a_tag(server, status):
    server.answers[f"/v2/a/b/referrers/{BLOB}"] = (status, {}, b"")
    assert reached(server).referrers(str(BLOB), KIND) is None
    server.answers[f"/v2/a/b/manifests/sha256-{BLOB.digest}"] = (200, {}, LIST)
    assert reached(server).referrers(str(BLOB), KIND) == LIST


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, {}, b""), f"answers 500 for /v2/a/b/referrers/{BLOB}"),
        ((403, {}, b""), "does not let us have a/b"),
        ((200, {}, bytes(5 << 20)), "the list of referrers has more than 4194304 bytes"),
    ],
)
def test_a_list_that_cannot_be_had_is_no_empty_one(server, answer, message):
    server.answers[f"/v2/a/b/referrers/{BLOB}"] = answer
    with pytest.raises(RegistryError, match=message):
        reached(server).referrers(str(BLOB), KIND)


# ── blobs

PATH = f"/v2/a/b/blobs/{BLOB}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {}, DATA[:-1] + b"x"), f"bytes of sha256:.* for the {len(DATA)} of"),
        ((200, {}, DATA + b"x"), f"sends more than the {len(DATA)} bytes"),
        ((200, {}, DATA[:100]), "100 bytes of sha256"),
        ((200, {"Content-Length": len(DATA)}, DATA[:100]), "cannot be reached"),
        ((404, {}, b""), "does not have blob"),
    ],
)
def test_a_blob_that_is_another_is_no_blob(server, tmp_path, answer, message):
    server.answers[PATH] = answer
    server.answers["/v2/"] = (200, {"Connection": "close"}, b"")
    with pytest.raises(RegistryError, match=message):
        fetched(reached(server), tmp_path / "state")


def test_an_interrupted_blob_goes_on_where_it_stopped(server, tmp_path):
    def partly(request):
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        return 206, {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}, DATA[start:]

    server.answers[PATH] = partly
    folder = tmp_path / "state" / "downloads"
    folder.mkdir(parents=True)
    (folder / BLOB.digest).write_bytes(DATA[:1000])
    assert fetched(reached(server), tmp_path / "state") == DATA
    assert server.asked[-1][1]["Range"] == "bytes=1000-"


@pytest.mark.parametrize("begun", [DATA[:1000], b"wrong", DATA + b"x", b"x" * len(DATA)])
def test_a_registry_that_cannot_go_on_begins_again_and_what_is_wrong_is_fetched_anew(server, tmp_path, begun):
    server.answers[PATH] = (200, {}, DATA)
    folder = tmp_path / "state" / "downloads"
    folder.mkdir(parents=True)
    (folder / BLOB.digest).write_bytes(begun)
    assert fetched(reached(server), tmp_path / "state") == DATA


def test_what_is_there_is_not_asked_for(server, tmp_path):
    folder = tmp_path / "state" / "downloads"
    folder.mkdir(parents=True)
    (folder / BLOB.digest).write_bytes(DATA)
    assert fetched(reached(server), tmp_path / "state") == DATA
    assert [path for path, _ in server.asked] == ["/v2/"]


def test_a_registry_that_drips_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.2)

    def drip(request):
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)
        return 200, {}, b""

    server.answers[PATH] = drip
    with pytest.raises(RegistryError, match=r"sends less than 1024 bytes a second|cannot be reached"):
        fetched(reached(server), tmp_path / "state")


def test_a_registry_that_is_silent_is_left(server, monkeypatch):
    monkeypatch.setattr(module, "_DEADLINES", (0.2, 0.2))
    server.answers["/v2/a/b/manifests/1"] = lambda _: (time.sleep(1), (200, {}, b""))[1]
    with pytest.raises(RegistryError, match=r"cannot be reached: .*timed out"):
        reached(server).manifest(Reference("a/b", "1"))


# ── credentials


def asks(realm, kind="Bearer"):
    """Wants to know who we are; who is known gets the manifest."""

    def answer(request):
        if request.headers.get("Authorization") in (ME, "Bearer good"):
            return 200, {}, MANIFEST
        return 401, {"Www-Authenticate": f'{kind} realm="{realm}",service="s",scope="x"'}, b""

    return answer


def test_basic_credentials_are_given_to_who_asks_for_them(server, known):
    server.answers["/v2/a/b/manifests/1"] = server.answers["/v2/"] = asks("Registry", "Basic")
    assert reached(server, files=known).manifest(Reference("a/b", "1"))[0] == MANIFEST
    with pytest.raises(RegistryError, match="does not let us have a/b") as refused:
        reached(server).manifest(Reference("a/b", "1"))
    assert f"volt login {server.host}" in refused.value.hint


def test_a_program_that_keeps_the_password_is_asked_for_it_once_and_by_volt_alone(server, tmp_path, monkeypatch):
    program, file = tmp_path / "docker-credential-keeper", tmp_path / "config.json"
    said = f"echo >>{tmp_path}/asked; cat >/dev/null; printf %s '{json.dumps({'Username': 'me', 'Secret': 'secret'})}'"
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    file.write_text(json.dumps({"credHelpers": {server.host: "keeper"}}))
    server.answers["/v2/a/b/manifests/1"] = server.answers["/v2/"] = asks("Registry", "Basic")
    for name in ("DOCKER_CONFIG", "HOME"):  # where oras would look by itself
        monkeypatch.setenv(name, str(tmp_path))
    one = reached(server, files=(str(file),))
    assert one.manifest(Reference("a/b", "1"))[0] == MANIFEST
    assert one.manifest(Reference("a/b", "1"))[0] == MANIFEST
    assert (tmp_path / "asked").read_text() == "\n"


def test_a_token_of_the_registrys_own_host_is_fetched(server, known):
    def token(request):
        return (200, {}, b'{"token": "good"}') if request.headers.get("Authorization") == ME else (401, {}, b"")

    server.answers |= {"/token": token, "/v2/": asks(f"http://{server.host}/token")}
    server.answers["/v2/a/b/manifests/1"] = server.answers["/v2/"]
    assert reached(server, files=known).manifest(Reference("a/b", "1"))[0] == MANIFEST


def test_a_token_that_has_come_to_its_end_is_renewed(server, known):
    good = ["Bearer 1"]

    def answer(request):
        if request.headers.get("Authorization") == good[-1]:
            return 200, {}, MANIFEST
        return 401, {"Www-Authenticate": f'Bearer realm="http://{server.host}/token",service="s"'}, b""

    server.answers |= {"/v2/": answer, "/v2/a/b/manifests/1": answer}
    server.answers["/token"] = lambda _: (200, {}, json.dumps({"token": good[-1].removeprefix("Bearer ")}).encode())
    one = reached(server, files=known)
    assert one.manifest(Reference("a/b", "1"))[0] == MANIFEST
    good.append("Bearer 2")
    assert one.manifest(Reference("a/b", "1"))[0] == MANIFEST
    good.append("none")
    with pytest.raises(RegistryError, match="does not let us have"):
        one.manifest(Reference("a/b", "1"))


def test_what_is_asked_for_tokens_is_bounded(server, known):
    server.answers["/v2/"] = asks(f"http://{server.host}/token")
    server.answers["/v2/a/b/manifests/1"] = server.answers["/v2/"]
    server.answers["/token"] = (200, {}, bytes(5 << 20))
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        reached(server, files=known).manifest(Reference("a/b", "1"))


@pytest.mark.parametrize("host", ["evil.co.uk", "other.example.co.uk", "auth.docker.io"])
def test_a_name_that_is_like_the_registrys_is_anothers(host):
    guard = module._Guard("registry.example.co.uk", Access("registry.example.co.uk"))
    assert not guard.belongs(host)
    assert module._Guard(module.HUB_HOST, Access("docker.io")).belongs("auth.docker.io")


def test_another_host_gets_the_credentials_only_where_the_settings_name_it(server, known):
    with serving() as other:
        other.answers["/token"] = (200, {}, b'{"token": "good"}')
        server.answers["/v2/a/b/manifests/1"] = server.answers["/v2/"] = asks(f"http://{other.host}/token")
        with pytest.raises(RegistryError, match=r"wants the credentials, and is another's|in the clear"):
            reached(server, files=known).manifest(Reference("a/b", "1"))
        assert other.asked == []
        one = reached(server, files=known, tokens=other.host)
        assert one.manifest(Reference("a/b", "1"))[0] == MANIFEST
        assert other.asked[-1][1]["Authorization"] == ME


def test_a_redirection_takes_no_credentials_along(server, known):
    with serving() as other:
        other.answers["/blob"] = (200, {}, DATA)
        server.answers["/v2/"] = asks("Registry", "Basic")
        server.answers[PATH] = (307, {"Location": f"http://{other.host}/blob"}, b"")
        one = reached(server, files=known, tokens=other.host)
        assert b"".join(one.blob(BLOB)) == DATA
        assert "Authorization" not in other.asked[-1][1]


def test_nothing_goes_out_in_the_clear_unless_the_settings_say_so(server):
    with pytest.raises(RegistryError, match=r"cannot be reached|who it says it is"):
        Registry(Access(server.host), "a/b")
    with serving() as other:
        server.answers[PATH] = (307, {"Location": f"http://{other.host}/blob"}, b"")
        with pytest.raises(RegistryError, match="would be asked in the clear"):
            b"".join(reached(server).blob(BLOB))
        assert other.asked == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("debian", ("", "debian")),
        ("library/debian", ("", "library/debian")),
        ("localhost/x", ("localhost", "x")),
        ("docker.io/library/x", ("docker.io", "library/x")),
        ("host:5000/a/b", ("host:5000", "a/b")),
    ],
)
def test_a_registry_is_told_from_a_folder_of_names(name, found):
    assert registry_of(name) == found


def test_downloads_lie_beside_the_store():
    assert downloads("/var/lib/volt") == "/var/lib/volt/downloads"


# ── what is sent


class Sent(io.BytesIO):
    def __len__(self):
        return len(self.getvalue())


def test_a_blob_goes_where_the_registry_says_and_to_no_stranger_in_the_clear(server, known):
    ask = {"Www-Authenticate": 'Basic realm="r"'}
    with serving() as other:
        where = {"Location": f"http://{other.host}/there?state=1"}
        other.answers["/there"] = (201, {}, b"")
        server.answers["/v2/"] = (401, ask, b"")
        server.answers["/v2/a/b/blobs/uploads/"] = lambda handler: (
            (202, where, b"") if handler.headers.get("Authorization") == ME else (401, ask, b"")
        )
        with pytest.raises(RegistryError, match="would be asked in the clear"):
            reached(server, files=known).put(BLOB, Sent(DATA))
        assert other.asked == []
        reached(server, files=known, tokens=other.host).put(BLOB, Sent(DATA))
        where["Location"] = "/own?state=1"
        server.answers["/own"] = (201, {}, b"")
        reached(server, files=known).put(BLOB, Sent(DATA))
    path, headers = server.asked[-1]
    assert (path, headers["Authorization"]) == (f"/own?state=1&digest={BLOB}", ME)
    assert headers["Content-Length"] == str(len(DATA))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, {}, b""), "does not let us write to a/b"),
        ((500, {}, b""), "answers 500 for /v2/a/b/manifests/1"),
        ((201, {"Docker-Content-Digest": str(BLOB)}, b""), f"has {BLOB} for a/b:1, which is sha256:"),
    ],
)
def test_a_manifest_that_the_registry_did_not_take_as_it_is_is_told(server, answer, message):
    server.answers["/v2/a/b/manifests/1"] = answer
    with pytest.raises(RegistryError, match=message):
        reached(server).put_manifest("1", MANIFEST, "application/vnd.oci.image.manifest.v1+json")
