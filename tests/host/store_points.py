"""The kill-test harness for the store: a verb is killed while it adds, names, collects or mends, and what is there is
looked at.

Each try begins with a copy of the same state: the image kept:1, one more that nobody has a name for any more, and what
a killed import left. A later verb is one more line of STORE. Its words are what follows `volt`; `again` is what the
same verb may say when it is called once more, `prints` whether it then prints the same, `before` changes the state.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.host.conftest import Volt
from tests.host.points import Kill, Stage
from tests.unit.store.test_unpacked import unpack
from volt import api
from volt.store.place import Store

DAMAGED = "usr/share/text"  # of kept:1
ROOT = """
[workload]
name = "root"
mode = "container"
image = "kept:1"
command = ["true"]
[network]
mode = "none"
[storage]
writable_layer = "tmpfs"
"""


@dataclass(frozen=True)
class StoreVerb:
    name: str
    words: tuple[str, ...]
    again: str = ""
    prints: bool = True
    before: Callable | None = None
    out: bool = False  # whether it writes the file {out}
    damaged: bool = False  # … before it, and may be so still when it is killed
    status: int = 0
    detached: bool = False
    program: tuple[str, ...] = ()
    about: str = ""  # the calls that an ordinary run chooses from


# As on a kernel that mounts no image from a file: what planning does then, on this one.
OLDER = """
import sys
from volt.host import kernel
kernel.version = lambda release: (6, 1)
from volt.cli import main
sys.exit(main(sys.argv[1:]))
"""


def not_unpacked(stage):
    """The tree of kept:1 has to be made ready for a launch."""
    shutil.rmtree(stage.volt.state / f"state/store/unpacked/{api.image('kept:1').digest}")


def flip(stage):
    """One bit of an object of kept:1 is another."""
    path = stage.object_of(DAMAGED)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


UNPACKING = {
    "prints": False,
    "before": not_unpacked,
    "program": (sys.executable, "-c", OLDER),
    "about": "/unpacked/|/tmp/[^/]*$|text",
}
STORE = (
    StoreVerb("import", ("image", "import", "{tree}", "new:1")),
    StoreVerb("import-layers", ("image", "import", "{layout}", "new:2")),
    StoreVerb("replace", ("image", "import", "{tree}", "kept:2")),
    StoreVerb("tag", ("image", "tag", "kept:1", "other:1")),
    StoreVerb("rm", ("image", "rm", "kept:2"), again="no image", prints=False),
    StoreVerb("add", ("store", "add", "{base}")),
    StoreVerb("export", ("image", "export", "kept:1", "{out}"), out=True),
    StoreVerb("gc", ("store", "gc"), prints=False, about="/store/"),
    StoreVerb("unpack", ("plan", "{root}"), **UNPACKING),
    StoreVerb("repair", ("store", "verify", "--repair"), before=flip, damaged=True, prints=False, status=1),
)


class StoreStage(Stage):
    """A volt with a store, and no workload."""

    def __init__(self, folder, injector, volt=None):
        self.folder, self.injector = folder, injector
        self.volt = volt or Volt(folder)
        self.volt.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self.paths = {name: folder / name for name in ("tree", "layout", "base", "root", "out")}
        self.paths["base"].write_text('[workload]\nname = "base"\n')
        self.paths["root"].write_text(ROOT)
        make_tree(self.paths["tree"], b"new")
        make_tree(folder / "kept", b"kept")
        make_tree(folder / "gone", b"gone")
        for name in ("gone", "kept"):
            unpack(Store(f"{self.volt.state}/state/store"), api.import_image(folder / name, f"{name}:1").digest)
        api.tag_image("kept:1", "kept:2")
        api.export_image("gone:1", self.paths["layout"], form="oci")
        api.remove_image("gone:1")
        stray = self.volt.state / "state/store/tmp/1-aaaaaaaaaaaa"
        stray.mkdir(parents=True)
        (stray / "new-1").write_bytes(b"half")
        self.start = folder / "start"
        copy(self.volt.state, self.start)

    def object_of(self, path):
        """Where the content of a file of kept:1 lies."""
        digest = hashlib.sha256((self.folder / "kept" / path).read_bytes()).hexdigest()
        (found,) = (self.volt.state / "state/store/objects").glob(f"*/*{digest[2:]}")
        return found

    def reset(self):
        shutil.rmtree(self.volt.state, ignore_errors=True)
        copy(self.start, self.volt.state)

    def begin(self, verb):
        self.reset()
        self.paths["out"].unlink(missing_ok=True)
        if verb.before:
            verb.before(self)

    def kills_of(self, verb):
        """At each call that changes something, from one that nothing happens to; and what it printed."""
        self.begin(verb)
        printed = self.once(verb).stdout if verb.prints else b""
        self.begin(verb)
        log, said = self.inject(verb)
        assert (log.status, log.left) == (verb.status, []), said
        assert self.wrong(verb, printed) == []
        return printed, [Kill(point, point.process, point.role) for point in log.points if point.outward]

    def hit(self, verb, printed, kill, error=None):
        """What is wrong after it was killed, or its call failed; None where the point was not reached."""
        self.begin(verb)
        point = kill.point
        log, said = self.inject(verb, f"{point.process}:{point.number}:{error or f'kill:{kill.process}'}")
        wrong = [f"lives on: {one}" for one in log.left if log.hit] + self.mounts()
        wrong += ["a traceback: " + said] if "Traceback" in said else []
        wrong += self.wrong(verb, printed)
        return wrong if wrong or log.hit else None

    def once(self, verb):
        words = [word.format(**self.paths) for word in verb.words]
        return self.volt(*words, stdin=subprocess.DEVNULL)

    # ── what has to hold

    def wrong(self, verb, printed):
        """Of what is there, of the same verb once more, and of what is left when all images are removed."""
        found = self.damage(verb)
        if verb.out and self.paths["out"].exists() and self.imports_otherwise():
            found.append("not whole: what was exported")
        done = self.once(verb)
        good = done.returncode in (0, verb.status) or (verb.again and verb.again in done.stderr.decode())
        found += [] if good else [f"once more: {done.returncode} {done.stderr.decode()}"]
        found += [f"once more: {done.stdout!r}"] if verb.prints and done.stdout != printed else []
        if verb.damaged:  # what was taken out comes back with the image
            api.import_image(self.folder / "kept", "kept:1")
            found += self.told()
        return found + self.damage(verb) + clear(self.volt)

    def damage(self, verb):
        """What `store verify` finds. Raises NoSuchImage where the image that was there before is not."""
        api.image("kept:1")
        return [] if verb.damaged else self.told()

    def told(self):
        return [f"{one.kind} {one.digest}: {one.problem}" for one in api.verify_store().damage]

    def imports_otherwise(self):
        return api.import_image(self.paths["out"], "out:1").digest != api.image("kept:1").digest


def clear(volt):
    """Every image and manifest is removed, and collected; what is left."""
    for one in {f"{one.name}:{one.version}" for one in api.images()}:
        api.remove_image(one)
    state = volt.state / "state"
    shutil.rmtree(state / "manifests", ignore_errors=True)
    api.collect_store()
    places = (
        *("store/objects/*/*", "store/images/*", "store/unpacked/*", "store/tmp/*", "store/leases/*"),
        *("images/*", "downloads/*"),
    )
    found = [
        path
        for place in (*places, "store/.*")
        for path in state.glob(place)
        if not path.is_dir() or path.parent.name in ("tmp", "unpacked")
    ]
    return [f"left: {path}" for path in found]


def copy(folder, to):
    """With the links between its files."""
    subprocess.run(["cp", "-a", folder, to], check=True)


def make_tree(path, word):
    """Files of several kinds and sizes, one of which every tree has."""
    (path / "usr/share").mkdir(parents=True)
    (path / "usr/share/text").write_bytes(word * 10)
    (path / "usr/share/more").write_bytes(word * (1 << 18))
    (path / "usr/share/same").write_bytes(b"same")
    os.link(path / "usr/share/text", path / "usr/again")
    (path / "usr/link").symlink_to("share/text")
