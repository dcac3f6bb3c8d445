"""Images that buildah builds and pushes run as they are: what its RUN sees, the workload sees."""

import json
import os
import shutil
import subprocess

import pytest
import tomli
import tomli_w

from tests.programs.test_layers import do, layout
from tests.programs.test_registry import known, registry, volt

__all__ = ["layout", "registry", "volt"]  # fixtures

CONTAINERFILE = r"""
FROM scratch
COPY root/ /
RUN mkdir -p /var/lib/app && chown app:app /var/lib/app && echo seeded >/var/lib/app/seed
RUN touch /bin/set && chmod 4755 /bin/set
ENV GREETING="hello  world" PATH=/bin:/opt
USER app:extra
WORKDIR /srv/app
VOLUME /data /var/lib/app /absent/in/it
STOPSIGNAL SIGUSR1
EXPOSE 80
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["id; pwd; echo \"$GREETING|$HOME|$PATH\"; stat -c '%n %a %u' /bin/set /absent/in/it; cat /var/lib/app/seed"]
"""
SAYS = """uid=1000(app) gid=44(extra) groups=44(extra)
/srv/app
hello  world|/srv/app|/bin:/opt
/bin/set 4755 0
/absent/in/it 755 0
seeded
"""
WAITS = "trap 'echo told; exit 7' USR1; echo up; while :; do sleep 0.1; done"


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, folder):
        self.words = ("buildah", "--root", folder / "store", "--runroot", folder / "run", "--storage-driver", "vfs")

    def __call__(self, *words):
        return do(*self.words, *words).stdout.strip()


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    """It has an image `app`, and a container of it that is `app` too."""
    folder = tmp_path_factory.mktemp("buildah")
    root = folder / "root"
    for name in ("bin", "etc", "data", "srv/app", "tmp", "proc", "sys", "dev", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "id", "pwd", "stat", "cat", "mkdir", "chown", "chmod", "touch", "sleep", "grep"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:1000:1001::/srv/app:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\napp:x:1001:\nextra:x:44:app\n")
    (folder / "Containerfile").write_text(CONTAINERFILE)
    one = Buildah(folder)
    one("build", "--quiet", "--isolation", "chroot", "--tag", "app", "--file", folder / "Containerfile", folder)
    one("from", "--name", "app", "localhost/app")
    yield one
    one("rm", "--all")


@pytest.fixture
def pulled(buildah, registry, volt):
    """What the image is called that buildah has pushed and volt has pulled."""
    host, folder = registry
    assert known(volt, host, folder).returncode == 0
    given = ("--cert-dir", folder / "trusted", "--creds", "me:secret")
    buildah("push", "--quiet", *given, "localhost/app", f"docker://{host}/built/app:1")
    done = volt("image", "pull", f"{host}/built/app:1")
    assert done.returncode == 0, done.stderr
    return f"{host}/built/app:1"


def manifest(volt, image, *, storage=None, **workload):
    """One with the image for its root."""
    path = volt.manifest(workload={"image": image, **workload}, storage=storage or {})
    document = tomli.loads(path.read_text())
    del document["storage"]["rootfs"]
    path.write_text(tomli_w.dumps(document))
    return path


def test_it_runs_as_it_says_and_stops_by_its_signal(pulled, volt):
    one = manifest(volt, pulled)
    done = volt("run", one)
    assert done.stdout.decode() == SAYS, done.stderr
    told = json.loads(volt("image", "inspect", "--json", pulled).stdout)["images"][0]["config"]
    assert (told["volumes"], told["ports"]) == (["/absent/in/it", "/data", "/var/lib/app"], ["80/tcp"])
    waits = manifest(volt, pulled, name="waits", command=["/bin/sh", "-c", WAITS])
    with volt.start("run", waits, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        assert volt("stop", "waits").returncode == 0
        assert (process.stdout.read(), process.wait(30)) == (b"told\n", 7)


@pytest.mark.parametrize("user", ["1000", "1234:5678", "app:7", ":44"])
def test_a_user_is_who_buildahs_run_makes_of_it(buildah, volt, tmp_path, user):
    buildah("config", "--user", user, "--entrypoint", '["/bin/sh", "-c", "id; echo $HOME"]', "--cmd", "", "app")
    expected = buildah("run", "--isolation", "chroot", "app", "--", "/bin/sh", "-c", "id; echo $HOME")
    buildah("commit", "--quiet", "app", f"oci:{tmp_path}/one:one")
    assert volt("image", "import", tmp_path / "one", "one:1").returncode == 0
    done = volt("run", manifest(volt, "one:1"))
    assert done.stdout.decode().strip() == expected, done.stderr


WRITES = "for one in /data /var/lib/app /absent/in/it; do touch $one/x 2>/dev/null && echo $one; done"


def test_where_it_keeps_data_a_read_only_root_is_told_of_and_a_place_is_given(pulled, volt, tmp_path):
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 5000, 5000)
    command, every = ["/bin/sh", "-c", WRITES], ["/data", "/var/lib/app", "/absent/in/it"]
    locked, placed = {"writable_layer": "none"}, {"tmpfs": ["/var/lib/app", "/absent/in/it"]}
    placed["volumes"] = [{"host": str(tmp_path / "data"), "container": "/data"}]
    writable, locked, placed = (
        manifest(volt, pulled, user="0", command=command, storage=one) for one in ({}, locked, locked | placed)
    )
    assert volt("run", writable).stdout.decode().split() == every
    assert volt("run", locked).stdout.decode().split() == []
    told = volt("plan", locked).stdout.decode()
    assert [f"note: {one}: the image keeps data there, and the root is read-only" in told for one in every] == [
        True
    ] * 3
    done = volt("run", placed)
    assert done.stdout.decode().split() == every, done.stderr
    assert (tmp_path / "data/x").stat().st_uid == 5000
    assert "keeps data" not in volt("plan", placed).stdout.decode()


def test_a_folder_to_start_in_that_nobody_made_is_there_and_one_of_the_manifests_is_not(buildah, volt, tmp_path):
    buildah("config", "--workingdir", "/made/by/nobody", "--entrypoint", '["/bin/pwd"]', "--user", "app", "app")
    buildah("commit", "--quiet", "app", f"oci:{tmp_path}/one:one")
    assert volt("image", "import", tmp_path / "one", "one:1").returncode == 0
    assert volt("run", manifest(volt, "one:1")).stdout == b"/made/by/nobody\n"
    mistaken = volt("run", manifest(volt, "one:1", workdir="/a/mistake"))
    assert b"workload.workdir has to exist inside" in mistaken.stderr
