"""Manifests for property tests: anything that TOML can say, valid ones, and valid ones damaged."""

from __future__ import annotations

import os

import tomli_w
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from volt.manifest.fields import SECTIONS, VOLUME

# VOLT_EXAMPLES raises the number of documents that each property is tried on.
many = settings(
    max_examples=int(os.environ.get("VOLT_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

characters = st.characters(exclude_categories=["Cs"])
text = st.text(characters, max_size=12)
scalars = st.one_of(
    text,
    st.sampled_from(["...", "", "$", "${X}", "${", "a\0", "/", "..", "cas://", "host", "0", "\x1b[2J", "é\u202e"]),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(),
    st.floats(),
    st.dates(),
    st.times(),
    st.datetimes(),
)
words = [*SECTIONS, "limits", "extends", *VOLUME, "nofile", *(name for table in SECTIONS.values() for name in table)]
keys = st.one_of(st.sampled_from(words), text)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(keys, values, max_size=6) | st.fixed_dictionaries(
    {},
    optional={
        section: st.fixed_dictionaries({}, optional=dict.fromkeys(table, values)) for section, table in SECTIONS.items()
    },
)

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
dollars = line.map(lambda value: value.replace("$", "$$")).filter(lambda value: value != "...")
path = st.lists(
    st.from_regex(r"[a-zA-Z0-9 _.\x{e9}-]{1,6}".replace(r"\x{e9}", "é"), fullmatch=True), min_size=1, max_size=3
)
absolute = path.map(lambda parts: "/srv/" + "/".join(parts))
inside = path.filter(lambda parts: ".." not in parts).map(lambda parts: "/data/" + "/".join(parts))
size = st.integers(0, 2**63).map(str) | st.sampled_from(["1.5GiB", "25%", "0.000001%", "100%", "8E", "3k"])
duration = st.sampled_from(["500ms", "1h30m", "0s", "90m", "61s", "1h1ms"])
names = st.lists(label, max_size=3)
user = st.sampled_from(["web", "0", "7:8", "a:b", "x$$:9"])
address = st.ip_addresses().map(str)
port = st.sampled_from(["80", "81:80/udp", "82-83:82-83", "[::1]:84:80", "127.0.0.1::85", "[::2]:86", "90-91"])
tmpfs = st.sampled_from(["/t", "/t/a:size=1M", "/t/b:mode=1777,size=5%", "/dev/shm/x:mode=700"])
volume = st.fixed_dictionaries(
    {"host": absolute, "container": inside},
    optional={
        "readonly": st.booleans(),
        "as": user,
        "ids": st.sampled_from(["owner", "same", ""]),
        "owner": st.sampled_from(["root", ""]),
    },
)
limit = st.sampled_from([0, 5, "5:6", "64M:infinity", "unlimited"])
flag = st.booleans()

# Each field's good values. What rules between fields forbid is filtered by resolving.
ready = st.sampled_from(["notify", "http:8080/a?b=%7B$$", "file:/run/$$x", "log: a $$b: c", ""]) | st.integers(
    1, 65535
).map("tcp:{}".format)
GOOD = {
    "workload": {
        "image": st.sampled_from(["debian:12", "localhost:5000/a/b"]), "description": dollars,
        "command": st.lists(dollars, max_size=3), "env_file": absolute, "user": user, "workdir": inside,
        "env": st.dictionaries(st.from_regex(r"[A-Z_][A-Za-z0-9_.-]{0,5}", fullmatch=True), dollars, max_size=3),
        "hostname": label, "platform": st.just("linux/arm64"), "boot": flag,
        "labels": st.dictionaries(
            line.filter(lambda key: key.isprintable() and key != ""), dollars, max_size=3
        ),
    },
    "kernel": {"version": st.just(">=6.1"), "path": absolute, "modules": names, "cmdline": dollars},
    "security": {
        "landlock_profile": st.sampled_from(["strict", "custom", "/p/x.toml", "a/b"]), "landlock_policy": absolute,
        "seccomp_profile": st.sampled_from(["default", "unconfined", "./x.json"]),
        "capabilities": st.lists(st.sampled_from(["KILL", "CAP_CHOWN", "net_admin"]), max_size=3),
        "read_only_rootfs": flag, "no_new_privs": flag,
    },
    "resources": {
        "memory_limit": size, "memory_soft": size, "cpu_weight": st.integers(0, 10000),
        "cpu_set": st.sampled_from(["0", "0-3,7", "8191"]), "io_weight": st.integers(0, 10000),
        "pids_max": st.integers(0, 9),
    },
    "network": {
        "mode": st.sampled_from(["bridge", "host", "none", "custom", ""]), "name": label, "address": address,
        "dns": st.lists(address, max_size=2), "ports": st.lists(port, max_size=2, unique=True),
    },
    "storage": {
        "rootfs": absolute | st.sampled_from(["host", "./host", "cas://sha256:0", "rel"]),
        "volumes": st.lists(volume, max_size=2), "writable_layer": st.sampled_from(["overlay", "tmpfs", "none", ""]),
        "tmpfs": st.lists(tmpfs, max_size=2), "shm_size": size, "layer_size": size,
    },
    "log": {"rate": size, "max_size": size, "max_files": st.integers(0, 9)},
    "service": {
        "restart": st.sampled_from(["no", "on-failure", "always", ""]), "restart_sec": duration, "ready": ready,
        "ready_timeout": duration, "watchdog": duration, "stop_signal": st.sampled_from(["SIGINT", "term"]),
        "stop_timeout": duration, "after": names, "requires": names,
    },
    "health": {
        "command": st.lists(dollars, max_size=2), "http": dollars, "tcp": dollars, "interval": duration,
        "timeout": duration, "retries": st.integers(0, 9), "on_failure": st.sampled_from(["none", "restart", "stop"]),
    },
}  # fmt: skip
modes = st.sampled_from(["container", "hybrid-native", "hybrid-kvm", "hybrid-emulated"])
valid = st.builds(
    lambda name, mode, sections: {**sections, "workload": {"name": name, "mode": mode, **sections.get("workload", {})}},
    label,
    modes,
    st.fixed_dictionaries(
        {},
        optional={section: st.fixed_dictionaries({}, optional=fields) for section, fields in GOOD.items()}
        | {"limits": st.dictionaries(st.sampled_from(["nofile", "core", "stack"]), limit, max_size=2)},
    ),
)


def toml(table: dict) -> bytes:
    return tomli_w.dumps(table).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid manifest with a few of its bytes cut out, doubled or replaced."""
    data = bytearray(toml(draw(valid)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        data[start:end] = draw(st.one_of(st.just(b""), st.just(bytes(data[start:end]) * 2), st.binary(max_size=4)))
    return bytes(data)
