"""What changes the store, killed at random instants while workloads are launched from it: nothing under a final name is
torn, no workload misses a file, and the next collection leaves nothing.

An ordinary run has 18 instants. A failure names its seed; that one alone, or three hundred instants, are

    VOLT_SEED=17 .venv/bin/python -m pytest tests/programs/test_instants.py
    VOLT_EXHAUSTIVE=1 .venv/bin/python -m pytest tests/programs/test_instants.py
"""

import hashlib
import os
import random
import shutil
import sys
import time
import traceback
from ctypes import CDLL

import pytest

from tests.host.conftest import busybox, disk, leaving_nothing
from tests.host.living import living, until
from tests.host.store_points import clear
from tests.host.test_mixes import DEADLINE, Command
from tests.programs.test_layers import do
from tests.programs.test_registry import Machine, known, registry
from volt import api
from volt.api import pulling
from volt.cli import app
from volt.images import registry as client

__all__ = ["busybox", "disk", "registry"]  # fixtures

INSTANTS = 300 if os.environ.get("VOLT_EXHAUSTIVE") else 18
SEED = int(os.environ.get("VOLT_SEED", "8"))
LAUNCHED = 2  # at once
FILES = 20  # of each tree, besides those that all of them share
NAMES = ("a:1", "a:2", "b:1", "b:2")
MISSED = 9  # the status of a payload that does not find a file, or finds another in its place
# Each file is called by what it holds, and is opened for the first time when its turn comes.
READS = f"""
for file in /srv/data/*; do
    test "$(sha256sum < $file)" = "$(basename $file)  -" || exit {MISSED}
    sleep 0.01
done
"""
GONE = ("no image", "no-image", "is not in the store", "make-filesystem")  # another verb has taken it away
NEWNS, REC, PRIVATE, BIND = 0x20000, 0x4000, 1 << 18, 0x1000  # mount(2), clone(2)


def make_root(folder, busybox, word):
    """A root whose files say what they hold; half of them every root has."""
    shutil.copytree(busybox / "bin", folder / "bin", symlinks=True)
    data = folder / "srv/data"
    data.mkdir(parents=True)
    for number in range(FILES):
        content = f"{word if number % 2 else 'all'} {number}\n".encode() * (1 + 700 * number)
        (data / hashlib.sha256(content).hexdigest()).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def layout(tmp_path_factory, busybox):
    """What lies in the registry as a/one:1."""
    folder = tmp_path_factory.mktemp("layout")
    root, image = make_root(folder / "root", busybox, "pulled"), f"{folder}/layout:one"
    do("umoci", "init", "--layout", folder / "layout")
    do("umoci", "new", "--image", image)
    do("umoci", "insert", "--image", image, root, "/")
    return folder / "layout"


class Verb(Command):
    """A verb of a machine with settings of its own, in a process of its own."""

    def __init__(self, words, folder, said, within=None):
        self.settings, self.status = str(folder / "etc"), None
        super().__init__(words[0], words, "", said, within)

    def _main(self):
        try:
            libc, place = CDLL(None), b"/etc/volt"
            assert libc.unshare(NEWNS) == 0
            assert libc.mount(None, b"/", None, REC | PRIVATE, None) == 0
            assert libc.mount(os.fsencode(self.settings), place, None, BIND, None) == 0
        except BaseException:  # noqa: BLE001 (nothing of this process may run on)
            traceback.print_exc()
            return 70
        return super()._main()

    @property
    def has_ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wrong(self):
        """What it says that it must not; what is gone may be missing before it begins, and never once it runs."""
        said = self.said.read_text(errors="replace")
        good = self.status == 0 or (self.was_killed and self.status < 0) or any(word in said for word in GONE)
        return [] if good and "Traceback" not in said else [f"{self} ended with {self.status}: {said}"]


class Fire:
    """A store, workloads from it, and what is done to it meanwhile."""

    def __init__(self, volt, busybox, host):
        self.volt, self.chance, self.host = volt, random.Random(SEED), host
        self.trees = [make_root(volt.folder / word, busybox, word) for word in ("first", "second", "third")]
        self.manifests, self.deck, self.took = {}, [], {}
        self.launches, self.read, self.count = [], 0, 0
        for tree, name in zip(self.trees, NAMES, strict=False):
            api.import_image(tree, name)

    def begin(self, words, within=None):
        self.count += 1
        said = self.volt.folder / f"said-{self.count}"
        said.touch()
        return Verb(words, self.volt.folder, said, within)

    def words(self):
        """A verb that changes the store, each as often as any other."""
        name, other = self.chance.sample(NAMES, 2)
        pulled = f"{self.host}/a/one:1"
        verbs = {
            "import": ("image", "import", str(self.chance.choice(self.trees)), name),
            "tag": ("image", "tag", name, other),
            "rm": ("image", "rm", self.chance.choice((name, pulled))),
            "pull": ("image", "pull", "--quiet", pulled),
            "gc": ("store", "gc"),
        }
        if not self.deck:
            self.deck = self.chance.sample(list(verbs), len(verbs))
        return verbs[self.deck.pop()]

    # ── workloads

    def launch(self):
        """As many as there are to be, from images that have a name now."""
        busy = {slot for slot, _ in self.launches}
        for slot in {*range(LAUNCHED)} - busy:
            if there := sorted({f"{one.name}:{one.version}" for one in api.images()}):
                image = self.chance.choice(there)
                self.launches.append((slot, self.begin(("run", str(self.manifest(slot, image))))))

    def manifest(self, slot, image):
        if (slot, image) not in self.manifests:
            workload = {"name": f"fire-{slot}", "image": image, "command": ["/bin/sh", "-c", READS]}
            storage = {"rootfs": "", "writable_layer": "tmpfs"}
            self.manifests[slot, image] = self.volt.manifest(workload=workload, storage=storage)
        return self.manifests[slot, image]

    def take(self):
        """What the workloads that have ended were missing."""
        ended = [one for _, one in self.launches if one.has_ended]
        self.launches = [(slot, one) for slot, one in self.launches if one not in ended]
        self.read += sum(one.status == 0 for one in ended)
        return [wrong for one in ended for wrong in one.wrong()]

    # ── instants

    def instant(self):
        """One verb is killed beside another that is not, and beside workloads; what is wrong then."""
        words = self.words()
        victim = self.begin(words, self.chance.uniform(0, self.took.get(words[:2], 0.1)))
        other = self.begin(self.words())
        wrong = self.wait(victim, other)
        wrong += victim.wrong() + other.wrong()
        wrong += [f"{one.kind} {one.digest}: {one.problem}" for one in api.verify_store().damage]
        return victim.was_killed, [f"{one}, after {victim} beside {other}" for one in wrong]

    def wait(self, *verbs):
        """Until they have ended, with as many workloads as there are to be; what those miss."""
        wrong, at_work = [], [*verbs]
        while at_work:
            for one in [one for one in at_work if one.has_ended]:
                at_work.remove(one)
                if not one.was_killed:  # how late one of its kind may be killed
                    self.took[one.words[:2]] = time.monotonic() - one.begun
            for one in at_work:
                one.kill_if_due()
            wrong += self.take()
            self.launch()
            time.sleep(0.001)
        return wrong

    def end(self):
        """The workloads go on to their end; then what is left of everything."""
        wrong, deadline = [], time.monotonic() + DEADLINE
        while self.launches:
            assert time.monotonic() < deadline, [str(one) for _, one in self.launches]
            wrong += self.take()
            time.sleep(0.01)
        return wrong + clear(self.volt)


@pytest.fixture
def volt(disk, registry, monkeypatch):
    with leaving_nothing(Machine(disk)) as one:
        monkeypatch.setenv("VOLT_ROOT", str(one.state))
        assert known(one, *registry).returncode == 0
        yield one


def test_killed_at_random_instants_the_store_tears_nothing_and_no_workload_misses_a_file(volt, busybox, registry):
    assert all((app.command_line, pulling, client))  # imported here, and by no verb
    fire = Fire(volt, busybox, registry[0])
    killed, wrong, tried = 0, [], 0
    try:
        while killed < INSTANTS and not wrong:
            tried += 1
            hit, wrong = fire.instant()
            killed += hit
    finally:
        wrong += fire.end()
    sys.stdout.write(f"seed {SEED}: {killed} killed of {tried}, {fire.read} workloads read all of their files\n")
    assert wrong == [], f"seed {SEED}, instant {tried}"
    assert fire.read > INSTANTS / 4  # where none reads, none misses


def test_without_a_lease_a_workload_would_miss_a_file_and_that_is_noticed(volt, busybox):
    api.import_image(make_root(volt.folder / "root", busybox, "held"), "held:1")
    waits = f"until test -e /tmp/go; do sleep 0.02; done; {READS}"
    workload = {"name": "held", "image": "held:1"}
    storage = {"rootfs": "", "writable_layer": "tmpfs"}
    with living(volt, "/bin/sh", "-c", waits, workload=workload, storage=storage) as run:
        api.remove_image("held:1")
        assert api.collect_store().objects == 0
        (volt.state / "state/store/leases" / run.record.id).unlink()
        assert api.collect_store().objects > FILES
        assert volt("exec", "held", "touch", "/tmp/go").returncode == 0
        until(lambda: run.process.poll() is not None, "its end")
        assert run.process.returncode == MISSED
