"""Servers of Debian's do their work behind the wall, asked from outside it.

Where the manifest names no profiles they are `default`, for files, ports and system calls; *-strict.toml name `strict`.
"""

import json
import signal
import subprocess

import pytest

from tests.host.test_landlock import needs
from tests.programs.conftest import IN_BOTH_MODES, OWNER, TOP, until

SITE = TOP / "examples/site/index.html"
# What strict requires in the host's network, kernels before 6.12 lack; without a network: test_strict.py. An init that
# is booted has to mount, which strict forbids.
EACH = pytest.mark.parametrize(
    ("volt", "profile"),
    [("container", "default"), pytest.param("container", "strict", marks=needs(6)), ("hybrid-native", "default")],
    indirect=["volt"],
)


def named(program, profile):
    return program if profile == "default" else f"{program}-{profile}"


@EACH
def test_nginx_serves_a_page_and_reads_its_settings_again(volt, profile):
    with volt.serving(named("nginx", profile)) as (server, said):
        assert volt.page("http://127.0.0.1:8080/") == SITE.read_bytes()
        if volt.mode == "container":
            server.send_signal(signal.SIGHUP)
        else:  # that would ask the init to end
            assert volt("exec", "nginx", "--", "nginx", "-c", "/etc/nginx/pages.conf", "-s", "reload").returncode == 0
        until(lambda: subprocess.run(["grep", "-q", "gracefully shutting down", said], check=False))
        assert volt.page("http://127.0.0.1:8080/index.html") == SITE.read_bytes()
    assert "[emerg]" not in said.read_text()
    assert "[alert]" not in said.read_text()


@pytest.mark.parametrize("name", ["nginx-strict", "redis-strict", "caddy"])
def test_under_strict_no_init_is_booted(volt, name):
    volt.mode = "hybrid-native"
    refused = volt(*volt.example(name, DATA=volt.data("data")))
    assert (refused.returncode, b"the image's init is systemd, which mounts" in refused.stderr) == (125, True)


@needs(6)
def test_caddy_serves_a_page_under_strict(volt):
    with volt.serving("caddy"):
        assert volt.page("http://127.0.0.1:8080/") == SITE.read_bytes()


@EACH
def test_redis_sets_gets_saves_in_the_background_and_knows_it_after_a_restart(volt, profile):
    data = volt.data("redis")
    with volt.serving(named("redis", profile), DATA=data):
        assert volt.answer("redis-cli", "SET", "key", "a value") == "OK\n"
        assert volt.answer("redis-cli", "GET", "key") == "a value\n"
        assert volt.answer("redis-cli", "BGSAVE") == "Background saving started\n"
        until(lambda: subprocess.run(["test", "-s", data / "dump.rdb"], check=False))
        assert "rdb_last_bgsave_status:ok" in volt.answer("redis-cli", "INFO", "persistence")
        assert (data / "dump.rdb").read_bytes().startswith(b"REDIS")
        assert (data / "dump.rdb").stat().st_uid == OWNER
    with volt.serving(named("redis", profile), DATA=data):
        assert volt.answer("redis-cli", "GET", "key") == "a value\n"


QUERIES = """
CREATE TABLE numbers AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) AS n;
CREATE INDEX ON numbers (n);
SET debug_parallel_query = on;
SELECT sum(n), count(DISTINCT text) FROM numbers;
RESET debug_parallel_query;
SELECT split_part(line, E'\\t', 3) FROM regexp_split_to_table(pg_read_file('/proc/self/status'), '\\n') AS line
    WHERE line LIKE 'Uid:%';
COPY numbers TO PROGRAM 'wc -l >/data/copied';
VACUUM FULL numbers;
"""


@IN_BOTH_MODES
def test_postgresql_answers_queries_as_its_own_user_and_knows_them_after_a_restart(volt):
    data, password = volt.data("postgresql"), volt.folder / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    psql = ("psql", "--host=127.0.0.1", "--username=postgres", "--quiet", "--tuples-only", "--no-align", "--command")
    asked = {"env": {"PGPASSWORD": "secret"}}
    given = {"DATA": data, "PASSWORD": password}
    with volt.serving("postgresql", **given):
        assert volt.answer(*psql, "SELECT 6 * 7", **asked) == "42\n"
        postgres = identity(volt.root, "postgres")
        done = volt.client(*psql[:-1], *(f"--command={line}" for line in QUERIES.split(";\n")[:-1]), **asked)
        assert (done.returncode, done.stdout.decode()) == (0, f"200010000|1\n{postgres}\n"), done.stderr
        assert (data / "copied").read_text() == "20000\n"
        assert volt.client(*psql, "SELECT 1", env={"PGPASSWORD": "guessed"}).returncode == 2
    with volt.serving("postgresql", **given):
        assert volt.answer(*psql, "SELECT count(*) FROM numbers WHERE n > 10000", **asked) == "10000\n"
    assert (data / "PG_VERSION").stat().st_uid == OWNER


def identity(root, user):
    """The user's number in a root's own files."""
    lines = (line.split(":") for line in (root / "etc/passwd").read_text().splitlines())
    return next(int(uid) for name, _, uid, *_ in lines if name == user)


@IN_BOTH_MODES
def test_node_answers_over_http_with_what_a_worker_thread_computed(volt):
    with volt.serving("node", ends=128 + signal.SIGTERM if volt.mode == "container" else 0):
        for thread in (1, 2):
            answered = json.loads(volt.page("http://127.0.0.1:8081/fibonacci/25"))
            assert answered == {"fibonacci": 75025, "thread": thread}


@IN_BOTH_MODES
def test_ssh_logs_in_with_the_key_and_without_it_does_not(volt):
    keys = volt.data("keys")
    volumes = [{"host": str(keys), "container": "/keys"}]
    for name in ("ada", "eve"):
        made = volt.client("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/keys/{name}", volumes=volumes)
        assert made.returncode == 0, made.stderr
    ssh = ("ssh", "-i", "/keys/ada", *OPTIONS)
    with volt.serving("sshd", KEYS=keys / "ada.pub"):
        assert volt.answer(*ssh, "-p", "2222", SERVER, "id", "-un", volumes=volumes) == "ada\n"
        terminal = volt.answer(*ssh, "-tt", "-p", "2222", SERVER, "tty", volumes=volumes)
        first = 0 if volt.mode == "container" else 1  # the console is one too
        assert terminal == f"/dev/pts/{first}\r\n"
        copy = f"sftp -q -b - -i /keys/ada {' '.join(OPTIONS)} -P 2222 {SERVER}"
        script = f"printf 'put /etc/debian_version there\\nget there /tmp/back\\n' | {copy} >&2; cat /tmp/back"
        assert volt.answer("sh", "-c", script, volumes=volumes) == (volt.root / "etc/debian_version").read_text()
        refused = volt.client("ssh", "-i", "/keys/eve", *OPTIONS, "-p", "2222", SERVER, "id", volumes=volumes)
        assert refused.returncode == 255
        assert b"Permission denied (publickey" in refused.stderr


SERVER = "ada@127.0.0.1"
OPTIONS = (
    *("-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=/tmp/known", "-o", "BatchMode=yes"),
    *("-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"),
)
