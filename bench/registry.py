"""The registry that images are pulled from: Debian's docker-registry, on a loopback of the benchmark's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen

from bench.disk import said
from bench.measure import call
from bench.namespaces import Namespace

HOST = "127.0.0.1:5000"
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}"}}
"""
TRUST = f'[registries."{HOST}"]\nhttp = true\n'
SETTINGS = Path("/etc/volt")
_BIND = 4096  # MS_BIND, mount(2)


@contextmanager
def registry(network: Namespace, folder: Path, layout: Path, names: Iterable[str]) -> Iterator[None]:
    """It serves the images of a layout, each as NAME:1. Raises BenchFailed."""
    folder.mkdir()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, host=HOST))
    words = ["docker-registry", "serve", str(folder / "config.yml")]
    server = network.do(Popen, words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        for name in names:  # the first one until it answers
            copy = ("skopeo", "copy", "--quiet", "--retry-times=6", "--dest-tls-verify=false")
            network.do(said, *copy, f"oci:{layout}:{name}", f"docker://{HOST}/{name}:1")
        yield
    finally:
        server.kill()
        server.wait()


@contextmanager
def trusted(folder: Path) -> Iterator[None]:
    """volt asks it in the clear: settings of the benchmark's own in the place of the machine's, in this process's
    mount namespace alone."""
    folder.mkdir()
    (folder / "config.toml").write_text(TRUST)
    missing = not SETTINGS.exists()
    SETTINGS.mkdir(exist_ok=True)
    call("mount", bytes(folder), bytes(SETTINGS), None, _BIND, None)
    try:
        yield
    finally:
        said("umount", str(SETTINGS))
        if missing:
            with suppress(OSError):  # somebody has put something there meanwhile
                SETTINGS.rmdir()
