"""volt cp: files into and out of a workload that runs, by the command line and from Python."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.host.faces import KINDS
from tests.host.living import SECONDS, living, until
from volt import api
from volt.runs import command, session

# What a copy of each kind becomes at each place, as cp(1) has it: "file" and "folder" are there, "new" is not.
PLACES = {
    ("file", "new"): "new",
    ("file", "file"): "file",
    ("file", "folder"): "folder/one",
    ("file", "folder/"): "folder/one",
    ("file", "new/"): None,
    ("file", "missing/new"): None,
    ("tree", "new"): "new/one",
    ("tree", "new/"): "new/one",
    ("tree", "file"): None,
    ("tree", "folder"): "folder/tree/one",
    ("tree/.", "folder"): "folder/one",
    ("tree/.", "new"): "new/one",
    ("tree/", "folder"): "folder/tree/one",
}
SOURCES = {"file": "tree/one", "tree": "tree", "tree/.": "tree/.", "tree/": "tree/"}
HOLE = 1 << 30


@pytest.fixture(autouse=True)
def state(volt, monkeypatch):
    monkeypatch.setenv("VOLT_ROOT", str(volt.state))


@pytest.fixture
def web(volt):
    with living(volt) as one:
        yield one


class Copier:
    """Copies through one of the two faces: the fields of what was copied, or the message of what went wrong."""

    def __init__(self, volt, kind):
        self.volt, self.kind = volt, kind

    def out(self, name, path, to, **options):
        if self.kind == "python":
            return self._python(api.copy_out, name, path, to, **options)
        return self._line(f"{name}:{path}", to, options)

    def into(self, source, name, path, **options):
        if self.kind == "python":
            return self._python(api.copy_in, source, name, path, **options)
        return self._line(source, f"{name}:{path}", options)

    def _python(self, verb, *words, **options):
        try:
            copied = vars(verb(*words, **options))
        except api.VoltError as error:
            return error.message
        left = [f"{one.path}: {one.why}" for one in copied["left_out"]]
        return {**copied, "left_out": left}

    def _line(self, source, target, options):
        words = [word for key, value in options.items() for word in _words(key, value)]
        done = self.volt("cp", *words, "--json", source, target)
        document = json.loads(done.stdout)
        if "error" in document:
            assert done.returncode == 1
            return document["error"]["message"]
        assert done.returncode == bool(document["left_out"])
        document["left_out"] = [f"{one['path']}: {one['why']}" for one in document["left_out"]]
        return document


def _words(key, value):
    option = f"--{key.replace('_', '-')}"
    return [option] if value is True else [option, value]


@pytest.fixture(params=KINDS)
def copier(volt, request):
    return Copier(volt, request.param)


def said(name, script):
    """What a shell says inside."""
    with api.execute(name, ["sh", "-c", script], stdout=api.PIPE) as one:
        assert one.wait(SECONDS).status == 0
        return one.stdout.read().decode()


MAKE = "mkdir -p {0}/tree {0}/folder; echo text > {0}/tree/one; echo old > {0}/file"
FILES = "cd {0}; find . -type f -exec grep -l text {{}} + | sort"


class TestPlaces:
    """The same in both directions."""

    def test_out(self, copier, web, tmp_path):
        said(web.name, MAKE.format("/srv"))
        for (kind, to), becomes in _tried(copier):
            here = tmp_path / f"{kind} to {to}".replace("/", "_")
            (here / "folder").mkdir(parents=True)
            (here / "file").write_text("old\n")
            done = copier.out(web.name, f"/srv/{SOURCES[kind]}", f"{here}/{to}")
            found = [
                str(path.relative_to(here)) for path in here.rglob("*") if path.is_file() and "text" in path.read_text()
            ]
            assert (kind, to, found) == (kind, to, [becomes] if becomes else []), done
            assert isinstance(done, str) == (becomes is None)

    def test_in(self, copier, web, tmp_path):
        subprocess.run(["sh", "-c", MAKE.format(tmp_path / "here")], check=True)
        for number, ((kind, to), becomes) in enumerate(_tried(copier)):
            there = f"/srv/{number}"
            said(web.name, f"mkdir -p {there}/folder; echo old > {there}/file")
            done = copier.into(f"{tmp_path}/here/{SOURCES[kind]}", web.name, f"{there}/{to}")
            found = said(web.name, f"{FILES.format(there)} || :").split()
            assert (kind, to, found) == (kind, to, [f"./{becomes}"] if becomes else []), done
            assert isinstance(done, str) == (becomes is None)


def _tried(copier):
    """Each by one face; by the other one of each kind."""
    return [one for number, one in enumerate(PLACES.items()) if copier.kind == "python" or number % 4 == 0]


TREE = """
mkdir -p tree/sub tree/empty; cd tree
printf abc > sub/file; chmod 640 sub/file; chmod 2750 sub; : > nothing; ln -s sub/file link; printf 'x' > 'new
line'; truncate -s 1G hole; printf end >> hole; printf suid > suid; chmod 4755 suid; chmod 1777 empty
touch -d '2001-02-03 04:05:06.123456789' sub/file empty; touch -hd '2002-02-03 04:05:06' link; touch -d '2003-01-01' sub
"""


def looked_at(top):
    """Each path below with kind, mode, time, content's beginning and end; what a link says."""
    found = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        text = os.readlink(path) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                text = (file.read(10), file.seek(max(0, status.st_size - 3)), file.read())
        times = status.st_mtime_ns if path.name in ("file", "empty", "link", "sub") else 0
        found[str(path.relative_to(top))] = (oct(status.st_mode), times, text)
    return found


class TestWhatIsCopied:
    @pytest.mark.kernel
    def test_all_of_a_tree_comes_back_as_it_went_in(self, copier, web, tmp_path):
        """Modes, times to the nanosecond, links as links, holes, any name; set-id bits stay with their owner."""
        subprocess.run(["sh", "-c", TREE], cwd=tmp_path, check=True)
        (tmp_path / "tree" / os.fsdecode(b"\xff\xfe")).write_text("odd")
        (tmp_path / "tree/sub/other").hardlink_to(tmp_path / "tree" / os.fsdecode(b"\xff\xfe"))
        done = copier.into(f"{tmp_path}/tree", web.name, "/srv")
        counts = {key: done[key] for key in ("files", "folders", "links", "left_out")}
        assert counts == {"files": 7, "folders": 3, "links": 1, "left_out": []}
        assert said(web.name, "cd /srv/tree; stat -c '%a %u:%g' suid; stat -c %h sub/other") == "755 0:0\n2\n"
        again = copier.out(web.name, "/srv/tree", f"{tmp_path}/back")
        assert {key: again[key] for key in counts} == counts
        assert done["bytes"] == HOLE + 3 + 3 + 1 + 4 + 3
        assert again["bytes"] == done["bytes"] + 3, "a file for each of its names"
        for path in ("suid", "sub"):
            where = tmp_path / "tree" / path
            where.chmod(stat.S_IMODE(where.stat().st_mode) & 0o777)
        os.utime(tmp_path / "tree/sub", ns=(0, (tmp_path / "back/sub").stat().st_mtime_ns))
        assert looked_at(tmp_path / "back") == looked_at(tmp_path / "tree")
        assert (tmp_path / "back/hole").stat().st_blocks < 1000

    def test_owners_with_archive(self, copier, volt, busybox, tmp_path):
        with living(volt, storage={"rootfs": str(busybox)}) as web:
            (tmp_path / "own").write_text("")
            (tmp_path / "own").chmod(0o4755)
            os.chown(tmp_path / "own", 1000, 55)
            (tmp_path / "own").chmod(0o4755)
            copier.into(f"{tmp_path}/own", web.name, "/srv/plain")
            copier.into(f"{tmp_path}/own", web.name, "/srv/kept", archive=True)
            assert said(web.name, "stat -c '%a %u:%g' /srv/plain /srv/kept").split("\n")[:2] == [
                "755 0:0",
                "4755 1000:55",
            ]
            copier.out(web.name, "/srv/kept", f"{tmp_path}/plain")
            copier.out(web.name, "/srv/kept", f"{tmp_path}/kept", archive=True)
            found = [
                (one.st_uid, one.st_gid, one.st_mode & 0o7777)
                for one in map(os.stat, (tmp_path / "plain", tmp_path / "kept"))
            ]
            assert found == [(0, 0, 0o755), (1000, 55, 0o755)]
            for kept, owner in ((False, (0, 0)), (True, (1000, 55))):
                out = io.BytesIO()
                api.copy_out(web.name, "/srv/kept", out, archive=kept)
                out.seek(0)
                with tarfile.open(fileobj=out) as tar:
                    assert [(one.uid, one.gid) for one in tar] == [owner]

    def test_a_link_is_one_unless_it_is_to_be_followed(self, copier, web, tmp_path):
        said(web.name, "echo text > /srv/one; ln -s one /srv/link; mkdir /srv/d; ln -s d /srv/dl")
        assert "it is a link to one" in copier.out(web.name, "/srv/link", f"{tmp_path}/a")
        copier.out(web.name, "/srv/link", f"{tmp_path}/a", follow_link=True)
        assert (tmp_path / "a").read_text() == "text\n"
        copier.out(web.name, "/srv/dl", f"{tmp_path}/dl", follow_link=True)
        assert (tmp_path / "dl").is_dir()
        (tmp_path / "l").symlink_to("a")
        copier.into(f"{tmp_path}/l", web.name, "/srv/in")
        copier.into(f"{tmp_path}/l", web.name, "/srv/followed", follow_link=True)
        assert said(web.name, "readlink /srv/in; cat /srv/followed") == "a\ntext\n"

    def test_what_is_no_file_is_left_out_and_told(self, copier, web, tmp_path):
        said(web.name, "mkdir /srv/d; mkfifo /srv/d/pipe; echo text > /srv/d/one; ln -s /etc/passwd /srv/d/link")
        done = copier.out(web.name, "/srv/d", f"{tmp_path}/d")
        assert sorted(one.rpartition("/d/")[2] for one in done["left_out"]) == [
            "link: a link to /etc/passwd, which leads out of the copy",
            "pipe: neither file nor folder nor link",
        ]
        assert [path.name for path in (tmp_path / "d").iterdir()] == ["one"]
        os.mkfifo(tmp_path / "d/pipe")
        done = copier.into(f"{tmp_path}/d", web.name, "/srv/e")
        assert done["left_out"] == [f"{tmp_path}/d/pipe: neither file nor folder nor link"]

    def test_what_is_there_is_replaced_and_a_folder_stays_what_it_is(self, copier, web, tmp_path):
        said(web.name, "mkdir -m 700 /srv/d; echo old > /srv/d/one; echo old > /srv/d/two; ln -s /srv/d/two /srv/d/l")
        (tmp_path / "d").mkdir(mode=0o755)
        for name in ("one", "l"):
            (tmp_path / "d" / name).write_text("new\n")
        copier.into(f"{tmp_path}/d", web.name, "/srv")
        assert (
            said(web.name, "cd /srv/d; stat -c %a .; cat one two l; test -h l || ls")
            == "700\nnew\nold\nnew\nl\none\ntwo\n"
        )


class TestTar:
    def test_out(self, volt, web):
        said(web.name, "mkdir -p /srv/t/d; echo text > /srv/t/d/one; ln -s /etc /srv/t/out; truncate -s 1M /srv/t/hole")
        streams = {"command line": volt("cp", f"{web.name}:/srv/t", "-").stdout, "python": io.BytesIO()}
        api.copy_out(web.name, "/srv/t", streams["python"])
        streams["python"] = streams["python"].getvalue()
        for stream in streams.values():
            with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
                assert sorted(tar.getnames()) == ["t", "t/d", "t/d/one", "t/hole", "t/out"]
                assert tar.getmember("t/out").linkname == "/etc"
                assert tar.extractfile("t/d/one").read() == b"text\n"
                assert tar.extractfile("t/hole").read() == bytes(1 << 20)
                assert tar.getmember("t/d/one").mtime != int(tar.getmember("t/d/one").mtime)
        assert subprocess.run(["tar", "-t"], input=stream, check=True, capture_output=True).stderr == b""

    @pytest.mark.parametrize(
        ("form", "packed"), [(tarfile.GNU_FORMAT, ""), (tarfile.PAX_FORMAT, "gz"), (tarfile.USTAR_FORMAT, "xz")]
    )
    def test_in(self, volt, web, form, packed):
        """In any order, of any age; what would lead out is left out."""
        stream = archive(form, packed)
        done = volt("cp", "-", f"{web.name}:/srv", input=stream)
        assert done.returncode == 1
        assert sorted(done.stderr.decode().splitlines()) == [
            "volt: ../out: it leads out of the folder",
            "volt: /srv/hard-none: No such file or directory",
            "volt: hard-out: it leads out of the folder",
            "volt: pipe: neither file nor folder nor link",
        ]
        lines = said(web.name, "cd /srv; find . -type f | sort; stat -c %a d d/e; readlink l").split()
        files = ["./absolute", "./d/e/deep", "./d/hard", f"./d/{'n' * 90}", "./f/implied"]
        assert lines == [*files, "700", "711", "../x"]
        assert said(web.name, "cd /srv; test absolute -ef d/hard; echo $?") == "0\n"
        copied = api.copy_in(io.BytesIO(stream), web.name, "/srv")
        assert (copied.files, copied.links, len(copied.left_out)) == (5, 1, 4)
        assert ".volt-cp" not in said(web.name, "ls -AR /srv")

    def test_what_is_none(self, volt, web):
        whole = archive(tarfile.GNU_FORMAT, "")
        for path, stream, message in (
            ("/nope", whole, "No such file or directory"),
            ("/etc/passwd", whole, "Not a directory"),
            ("/srv", b"no tar at all, and longer than a block of one" * 100, "the archive: "),
            ("/srv", whole[: whole.index(b"text") + 2], "the archive"),
            ("/srv", member(uid=-1), "the archive: "),
            ("/srv", member(pax_headers={"mtime": "inf"}), "the archive: "),
        ):
            done = volt("cp", "-", f"{web.name}:{path}", input=stream)
            assert (done.returncode, message in done.stderr.decode()) == (1, True), done.stderr


def member(**fields):
    """A tar whose only member has numbers that no file has."""
    one = tarfile.TarInfo("x")
    for field, value in fields.items():
        setattr(one, field, value)
    return one.tobuf(tarfile.PAX_FORMAT if one.pax_headers else tarfile.GNU_FORMAT) + bytes(1024)


def archive(form, packed):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{packed}", format=form) as tar:

        def add(name, kind=tarfile.REGTYPE, mode=0o644, link="", text=b"text"):
            one = tarfile.TarInfo(name)
            one.type, one.mode, one.linkname, one.mtime = kind, mode, link, 10**9
            one.size = len(text) if kind == tarfile.REGTYPE else 0
            tar.addfile(one, io.BytesIO(text))

        add("d", tarfile.DIRTYPE, 0o700)
        add("d/e/", tarfile.DIRTYPE, 0o711)
        add("./d/e/deep")
        add("../out")
        add("/absolute")
        add("f/implied")
        add(f"d/{'n' * 90}")
        add("l", tarfile.SYMTYPE, link="../x")
        add("d/hard", tarfile.LNKTYPE, link="/absolute")
        add("hard-out", tarfile.LNKTYPE, link="../x")
        add("hard-none", tarfile.LNKTYPE, link="none")
        add("pipe", tarfile.FIFOTYPE)
    return stream.getvalue()


class TestRefusals:
    def test_what_is_not_there(self, copier, web, tmp_path):
        assert copier.out(web.name, "/nope", tmp_path) == f"{web.name}:/nope: No such file or directory"
        assert copier.into(f"{tmp_path}/nope", web.name, "/srv") == f"{tmp_path}/nope: No such file or directory"
        assert "is running" in copier.out("nobody", "/etc/passwd", tmp_path)
        assert "gives no name" in copier.out(web.name, "/etc/..", tmp_path)

    def test_a_place_that_is_read_only_is_told_as_that(self, copier, volt, web, tmp_path):
        (tmp_path / "one").write_text("text")
        done = copier.into(f"{tmp_path}/one", web.name, "/usr")
        assert done["files"] == 0
        assert ["read-only" in one for one in done["left_out"]] == [True]
        with living(volt, storage={"writable_layer": "none"}) as other:
            assert "read-only" in copier.into(f"{tmp_path}/one", other.name, "/srv/x")["left_out"][0]

    def test_a_workload_that_is_paused_or_has_ended(self, copier, volt, tmp_path):
        with living(volt) as web:
            freeze = Path(web.record.cgroup, "cgroup.freeze")
            freeze.write_text("1")
            until(lambda: "frozen 1" in Path(web.record.cgroup, "cgroup.events").read_text(), "the freeze")
            try:
                assert "is paused" in copier.out(web.name, "/etc/passwd", tmp_path)
            finally:
                freeze.write_text("0")
        name = volt("run", "-d", volt.manifest(), "--", "true").stdout.decode().strip()
        volt("wait", name)
        assert "has ended" in copier.out(name, "/etc/passwd", tmp_path)
        volt("rm", name)

    def test_another_user_reads_and_writes_what_he_may(self, copier, volt, busybox, tmp_path):
        with living(volt, storage={"rootfs": str(busybox)}) as web:
            said(web.name, "echo text > /srv/secret; chmod 600 /srv/secret; mkdir -m 777 /srv/all")
            done = copier.out(web.name, "/srv/secret", tmp_path, user="user")
            assert done["left_out"] == ["/srv/secret: Permission denied"]
            (tmp_path / "one").write_text("text")
            copier.into(f"{tmp_path}/one", web.name, "/srv/all", user="user:svc")
            assert said(web.name, "stat -c %U:%G /srv/all/one") == "user:svc\n"

    def test_calls_that_mean_nothing(self, volt, web):
        for words, message in (
            (("a", "b"), "neither SOURCE nor TARGET is in a workload"),
            ((f"{web.name}:/a", f"{web.name}:/b"), "one of SOURCE and TARGET is a path here"),
            ((f"{web.name}:/etc", "-", "--json"), "exclude each other"),
            (("-L", "-", f"{web.name}:/srv"), "no link to follow"),
        ):
            done = volt("cp", *words)
            assert (done.returncode, message in (done.stdout + done.stderr).decode()) == (1, True)
        master, slave = pty.openpty()
        done = volt("cp", f"{web.name}:/etc/passwd", "-", stdout=slave, capture_output=False, stderr=subprocess.PIPE)
        os.close(master)
        os.close(slave)
        assert b"not for a terminal" in done.stderr


class TestEnds:
    def test_what_is_not_whole_is_never_seen_and_goes_with_its_asker(self, volt, web):
        """A tar that stops in the middle of a file, and an asker who is killed."""
        head = tarfile.TarInfo("half")
        head.size = 1 << 20
        with volt.start("cp", "-", f"{web.name}:/srv", stdin=subprocess.PIPE) as asker:
            asker.stdin.write(head.tobuf() + bytes(1000))
            asker.stdin.flush()
            asker.stdin.write(bytes(1 << 19))
            asker.stdin.flush()
            until(lambda: ".volt-cp" in said(web.name, "ls -A /srv"), "the beginning")
            assert said(web.name, "ls /srv") == ""
            asker.kill()
        until(lambda: said(web.name, "ls -A /srv") == "", "its end")

    def test_nor_is_it_left_here(self, volt, web, tmp_path):
        said(web.name, "head -c 60000000 /dev/zero > /srv/more")
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            (tmp_path / "here").mkdir(exist_ok=True)
            ended = [self._signalled(volt, web, tmp_path / "here", number) for _ in range(5)]
            assert status in ended
            assert {*ended} <= {status, 0}

    @staticmethod
    def _signalled(volt, web, folder, number):
        """How a copy ended; of one that was faster than the signal the file is there."""
        with volt.start("cp", f"{web.name}:/srv/more", folder) as asker:
            until(lambda: list(folder.iterdir()), "the beginning")
            for each in (signal.SIGSTOP, number, signal.SIGCONT):
                asker.send_signal(each)
            status = asker.wait(SECONDS)
        assert [path.name for path in folder.iterdir()] == (["more"] if status == 0 else [])
        (folder / "more").unlink(missing_ok=True)
        return status

    def test_a_reader_who_goes_away_ends_it(self, volt, web):
        said(web.name, "truncate -s 100M /srv/big")
        with volt.start("cp", f"{web.name}:/srv/big", "-", stdout=subprocess.PIPE) as asker:
            asker.stdout.read(100)
            asker.stdout.close()
            assert asker.wait(SECONDS) == 141
        until(lambda: len(web.tree.inside) == 1, "the payload alone")

    def test_an_init_that_does_not_answer_is_told_in_time(self, web, tmp_path, monkeypatch):
        monkeypatch.setattr(command, "SECONDS", 1.0)
        monkeypatch.setattr(session, "SECONDS", 1.0)
        os.kill(web.tree.init, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(api.StateError, match="does not answer"):
                api.copy_out(web.name, "/etc/passwd", tmp_path)
            assert time.monotonic() - begun < SECONDS
        finally:
            os.kill(web.tree.init, signal.SIGCONT)

    def test_progress_is_called_with_what_is_there_to_copy(self, web, tmp_path):
        said(web.name, "head -c 3000000 /dev/zero > /srv/big; truncate -s 4000000 /srv/big")
        seen = []
        api.copy_out(web.name, "/srv", tmp_path / "srv", progress=lambda *both: seen.append(both))
        assert seen[-1] == (4000000, 4000000)
        assert sorted(seen) == seen
        seen.clear()
        api.copy_in(tmp_path / "srv", web.name, "/srv", progress=lambda *both: seen.append(both))
        assert seen[-1] == (4000000, 4000000)
