"""Under `strict` a server reaches what its manifest declares, and without a network no port at all."""

import pytest

from tests.host.test_landlock import needs
from tests.programs.conftest import EXAMPLES, TOP

SETTINGS = (EXAMPLES / "nginx.conf").read_text()
LISTEN = "listen 127.0.0.1:8080;"


@pytest.fixture
def run(volt, tmp_path):
    """Runs a command, or its own, in an example that is changed: what the manifest and nginx's settings add."""

    def run(name, *words, added="", listen=LISTEN):
        (tmp_path / "nginx.conf").write_text(SETTINGS.replace(LISTEN, listen))
        path = tmp_path / "changed.toml"
        volume = '[[storage.volumes]]\nhost = "nginx.conf"\ncontainer = "/etc/nginx/pages.conf"\nreadonly = true\n'
        path.write_text(f'extends = "{EXAMPLES}/{name}.toml"\n{added}\n{volume}')
        variables = ("--set", f"ROOT={volt.root}", "--set", f"DATA={volt.data('data')}")
        return volt("run", *variables, path, *(["--", *words] if words else []))

    return run


@needs(6)
def test_a_server_binds_its_declared_port_and_no_other(run):
    done = run("nginx-strict", listen="listen 127.0.0.1:8082;")
    assert (done.returncode, b"bind() to 127.0.0.1:8082 failed (13: Permission denied)" in done.stderr) == (1, True)


# Every kernel can hold what strict requires where there is no network: there is no port, so server and client
# meet at a socket by its path.
ALONE = '[network]\nmode = "none"\nports = []\n'

FETCH = """
import socket, sys, time
page = socket.socket(socket.AF_UNIX)
while page.connect_ex("/tmp/nginx.sock"):
    time.sleep(0.05)
page.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(page.makefile().read().partition("\\n\\n")[2], end="")
"""


def test_nginx_serves_a_page_without_a_network(run):
    script = 'nginx -c /etc/nginx/pages.conf & python3 -c "$1"; kill $!; wait $!'
    done = run("nginx-strict", "sh", "-c", script, "sh", FETCH, added=ALONE, listen="listen unix:/tmp/nginx.sock;")
    assert (done.returncode, done.stdout) == (0, (TOP / "examples/site/index.html").read_bytes()), done.stderr


def test_what_a_server_keeps_is_not_run(run):
    done = run("redis-strict", "sh", "-c", "cp /usr/bin/true /data/program && /data/program", added=ALONE)
    assert (done.returncode, b"Permission denied" in done.stderr) == (126, True)


REDIS = """
redis-server --dir /data --port 0 --unixsocket /tmp/redis.sock --loglevel warning --save '' --appendonly yes >&2 &
ask() { redis-cli -s /tmp/redis.sock "$@"; }
until ask PING >/dev/null 2>&1; do sleep 0.05; done
ask SET key 'a value'
ask BGSAVE
until [ -s /data/dump.rdb ]; do sleep 0.05; done
ask GET key
ask SHUTDOWN
wait $!
"""


def test_redis_sets_gets_and_saves_without_a_network(run):
    done = run("redis-strict", "sh", "-c", REDIS, added=ALONE)
    assert (done.returncode, done.stdout.decode()) == (0, "OK\nBackground saving started\na value\n"), done.stderr
