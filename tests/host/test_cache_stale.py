"""The plan cache never serves a stale plan: whatever a plan was made from is changed in turn."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import pytest
import tomli_w

from tests.host import front

REPORT = (
    "echo own=$OWN; echo base=$BASE; echo value=$VALUE; echo option=$OPTION; echo machine=$MACHINE; echo state=$STATE;"
    "echo home=$HOME; echo uid=$(id -u); echo data=$(cat /data/mark); echo root=$(cat /mark);"
    "echo file=$(ulimit -n); echo added=$ADDED"
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nsvc:x:{uid}:998::{home}:/bin/sh\n"


class Place:
    """A manifest with everything that a plan can depend on, in a folder of its own."""

    def __init__(self, folder, busybox, installed):
        folder.mkdir()
        self.folder, self.busybox = folder, busybox
        self.front = front.Front(folder, installed)
        self.installed = installed
        self.root = front.small_root(folder / "root", busybox)
        self.share = self.shared("share", "one")
        (self.root / "mark").write_text("one")
        self.passwd = self.root / "etc/passwd"
        self.passwd.write_text(PASSWD.format(uid=999, home="/srv"))
        self.values = folder / "values"
        self.values.write_text("VALUE=one\n")
        self.base = folder / "base.toml"
        self.base.write_bytes(self.base_text("one"))
        self.own = folder / "m.toml"
        self.own.write_bytes(self.own_text("one"))

    def shared(self, name, mark):
        path = self.folder / name
        path.mkdir()
        (path / "mark").write_text(mark)
        return path

    def base_text(self, value):
        document = {
            "workload": {"mode": "container", "user": "svc", "env_file": "values", "env": {"BASE": value}},
            "network": {"mode": "none"},
            "storage": {
                "rootfs": "root",
                "writable_layer": "overlay",
                "volumes": [{"host": "share", "container": "/data", "readonly": True}],
            },
            "limits": {"nofile": "64:128"},
        }
        return tomli_w.dumps(document).encode()

    def own_text(self, value):
        variables = {"OWN": value, "OPTION": "${OPTION:-none}", "MACHINE": "${HOSTNAME}", "STATE": "${VOLT_BASE}"}
        workload = {"name": f"stale-{self.folder.name}", "env": variables, "command": ["sh", "-c", REPORT]}
        return tomli_w.dumps({"extends": "base.toml", "workload": workload}).encode()


@dataclass
class Call:
    """How volt is called."""

    words: tuple[str, ...] = ("run", "m.toml")
    options: dict = field(default_factory=dict)

    def ask(self, how):
        return how(*self.words, **self.options)


def report(done):
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.decode().split())


# ── the changes: each may return another call


def edited_manifest(place):
    place.own.write_bytes(place.own_text("two"))


def edited_unseen(place):
    """The same length, and the time set back: only ctime tells."""
    before = place.own.stat()
    place.own.write_bytes(place.own_text("two"))
    os.utime(place.own, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (place.own.stat().st_size, place.own.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def edited_base(place):
    place.base.write_bytes(place.base_text("two"))


def renamed_base(place):
    """One that lay there before the entry was made, and so is old."""
    (place.folder / "other.toml").rename(place.base)


def replaced_root(place):
    place.root.rename(place.folder / "before")
    (place.folder / "other").rename(place.root)


def replaced_volume(place):
    place.share.rename(place.folder / "before")
    (place.folder / "other").rename(place.share)


def removed_env_file(place):
    place.values.unlink()


def other_home(place):
    place.passwd.write_text(PASSWD.format(uid=999, home="/usr"))


def other_uid(place):
    place.passwd.write_text(PASSWD.format(uid=777, home="/srv"))


def layers_passwd(place):
    (layer(place) / "etc/passwd").write_text(PASSWD.format(uid=666, home="/bin"))


def layers_new_passwd(place):
    (layer(place) / "etc").mkdir(exist_ok=True)
    layers_passwd(place)


def discarded_layer(place):
    shutil.rmtree(layer(place).parent)


def other_folder(place):
    return Call(options={"cwd": place.folder / "elsewhere"})


def other_words(place):
    return Call(words=("run", "m.toml", "--", "sh", "-c", f"OWN=two;{REPORT}"))


def other_root(place):
    return Call(options={"env": {"VOLT_ROOT": f"{place.front.state}2"}})


def set_option(place):
    return Call(words=("run", "--set", "OPTION=set", "m.toml"))


def environment_option(place):
    return Call(options={"env": {"OPTION": "environment"}})


def other_hostname(place):
    return Call(options={"prefix": ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh")})


def other_term(place):
    return Call(options={"env": {"TERM": "vt100"}})


def other_limit(place):
    return Call(options={"prefix": ("prlimit", "--nofile=64:1000")})


def impossible_limit(place):
    """Only with CAP_SYS_RESOURCE could it be raised."""
    without = ("setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource")
    return Call(options={"prefix": ("prlimit", "--nofile=64:100", *without)})


def fewer_capabilities(place):
    return Call(options={"prefix": ("setpriv", "--bounding-set", "-audit_write", "--inh-caps", "-audit_write")})


# ── what has to lie there before


def with_other_base(place):
    (place.folder / "other.toml").write_bytes(place.base_text("two"))


def with_other_root(place):
    front.small_root(place.folder / "other", place.busybox)
    (place.folder / "other/mark").write_text("two")
    (place.folder / "other/etc/passwd").write_text(PASSWD.format(uid=999, home="/srv"))
    text = place.base.read_text().replace('"overlay"', '"tmpfs"')  # a kept layer refuses another root
    place.base.write_text(text)


def with_other_volume(place):
    place.shared("other", "two")


def with_elsewhere(place):
    (place.folder / "elsewhere").mkdir()
    text = place.own_text("two").replace(b'"base.toml"', b'"../base.toml"')
    (place.folder / "elsewhere/m.toml").write_bytes(text)


def with_layers_passwd(place):
    """The layer that the first run made, with a user of its own."""
    assert place.front("run", "m.toml").returncode == 0
    layers_new_passwd(place)
    (layer(place) / "etc/passwd").write_text(PASSWD.format(uid=999, home="/srv"))


def with_layer(place):
    assert place.front("run", "m.toml").returncode == 0


def layer(place):
    return place.front.state / f"state/layers/stale-{place.folder.name}/upper"


@dataclass(frozen=True)
class Change:
    change: object
    seen: dict
    before: object = with_layer


CHANGES = {
    "manifest": Change(edited_manifest, {"own": "two"}),
    "manifest-unseen": Change(edited_unseen, {"own": "two"}),
    "base": Change(edited_base, {"base": "two"}),
    "base-by-rename": Change(renamed_base, {"base": "two"}, with_other_base),
    "root": Change(replaced_root, {"root": "two"}, with_other_root),
    "volume": Change(replaced_volume, {"data": "two"}, with_other_volume),
    "home": Change(other_home, {"home": "/usr"}),
    "uid": Change(other_uid, {"uid": "777"}),
    "layers-passwd": Change(layers_passwd, {"uid": "666", "home": "/bin"}, with_layers_passwd),
    "layers-new-passwd": Change(layers_new_passwd, {"uid": "666", "home": "/bin"}),
    "layer-discarded": Change(discarded_layer, {}),
    "folder": Change(other_folder, {"own": "two"}, with_elsewhere),
    "words": Change(other_words, {"own": "two"}),
    "volt-root": Change(other_root, {"state": "{state}2/state"}),
    "set": Change(set_option, {"option": "set"}),
    "environment": Change(environment_option, {"option": "environment"}),
    "hostname": Change(other_hostname, {"machine": "elsewhere"}),
    "term": Change(other_term, {}),
    "limit": Change(other_limit, {}),
    "capabilities": Change(fewer_capabilities, {}),
}
FAILING = {"env-file": (removed_env_file, b"values"), "no-such-limit": (impossible_limit, b"limit-too-high")}


@pytest.fixture(scope="module")
def places(tmp_path_factory, busybox):
    """A place for each change, all of them old enough to be depended on."""
    folder = tmp_path_factory.mktemp("stale")
    installed = front.Installation(folder)
    made = {}
    for name in (*CHANGES, *FAILING, "stdin"):
        made[name] = Place(folder / name, busybox, installed)
        CHANGES.get(name, Change(None, {})).before(made[name])
    front.let_age()
    for place in made.values():
        place.first = report(place.front("run", "m.toml"))
    front.let_age()  # the first run of a kept layer has made that layer
    return made


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_no_hit_and_has_its_effect(places, name):
    place, case = places[name], CHANGES[name]
    place.front("run", "m.toml")
    before = report(place.front.cached("run", "m.toml"))
    assert before == place.first
    call = case.change(place) or Call()
    assert not call.ask(place.front.hits)
    after = report(call.ask(place.front.planned))
    expected = {key: value.format(state=place.front.state) for key, value in case.seen.items()}
    assert after == {**before, **expected}


@pytest.mark.parametrize("name", FAILING)
def test_what_went_away_is_said_as_ever(places, name):
    change, message = FAILING[name]
    place = places[name]
    place.front("run", "m.toml")
    place.front.cached("run", "m.toml")
    call = change(place) or Call()
    done = call.ask(place.front.planned)
    assert done.returncode == 125
    assert message in done.stderr


def test_an_unchanged_place_stays_a_hit(places):
    """The counter-proof: what is only read, and what lies beside, changes nothing."""
    place = places["stdin"]
    place.front("run", "m.toml")
    for path in (place.own, place.base, place.values, place.passwd):
        path.read_bytes()
    (place.folder / "beside").write_text("x")
    (place.root / "srv/x").write_text("x")
    (place.share / "mark").write_text("two")
    assert report(place.front.cached("run", "m.toml")) == {**place.first, "data": "two"}
