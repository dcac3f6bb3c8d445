"""The policy of a machine, read as manifests are: every problem at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from volt.manifest import forms
from volt.manifest.chain import IN_STORE, Document, parse_document
from volt.manifest.fields import MODULE_HINT, unknown
from volt.manifest.keys import below, path_of
from volt.manifest.nodes import Node
from volt.manifest.reader import Parser, Problem, Reader, WrongError, many, string, truth
from volt.model.findings import Bound, Finding, quote
from volt.model.modes import LandlockProfile, NetworkMode
from volt.model.policy import Policy, Signers
from volt.model.sizes import Size
from volt.model.values import Value, replace

_HOST = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*(?::\d+)?", re.ASCII)
_PATH = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*", re.ASCII)
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----", re.ASCII)
_REGISTRY = 'write "registry.example", or a part of one: "registry.example/team"'
_KEY = "write the text of the file in three quotation marks, from -----BEGIN PUBLIC KEY----- on"
MOST_PIDS = 4194304  # PID_MAX_LIMIT, include/linux/threads.h


class BoundField(Value):
    """How one key of the policy is read, the field that it becomes, and what it says, for the reference."""

    attribute: str
    parse: Parser
    written: str
    meaning: str


class ReadPolicy(Value):
    """`policy` is None where there are errors."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    _document: Document

    def locate(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Findings that name a key of the policy, with the place where it was written, and the line of text if
        that may be quoted."""
        return tuple(replace(one, policy=self._placed(one.policy)) if one.policy else one for one in findings)

    def _placed(self, bound: Bound) -> Bound:
        place = self._document.place(path_of(bound.key))
        return Bound(bound.key, place, self._document.line(place.line) if self._document.quotable else "")


def read_policy(name: str, data: bytes, *, quotable: bool = True) -> ReadPolicy:
    """The policy that the TOML text `data` of the file `name` says. Nothing in it is replaced or left out: a key
    that is not known here, or a value that is not understood, is an error."""
    document = parse_document(name, data, quotable=quotable)
    if document.node is None:
        return ReadPolicy(None, (document.told(document.finding),) if document.finding else (), document)
    reader = Reader([None], "/")
    values = _read(reader, "", document.node)
    findings = tuple(_finding(problem, document) for problem in reader.problems)
    return ReadPolicy(None if findings else Policy(**values, quotable=quotable), findings, document)


def _read(reader: Reader, prefix: str, table: Node) -> dict[str, Any]:
    """Attribute → value, of everything that is right in a table."""
    found: dict[str, Any] = {}
    try:
        items = reader.typed(prefix, table, dict, f"a table: [{prefix}]")
    except WrongError:
        return {}
    for name, node in items.items():
        key = below(prefix, name)
        try:
            if key in BOUNDS:
                found[BOUNDS[key].attribute] = BOUNDS[key].parse(reader, key, node)
            elif name in _names(prefix):
                found |= _read(reader, key, node)
            else:
                unknown(reader, key, name, node, _names(prefix))
        except WrongError:
            continue
    return found


def _names(prefix: str) -> tuple[str, ...]:
    """What a table may hold: the next part of every key below it."""
    start = f"{prefix}." if prefix else ""
    return tuple(dict.fromkeys(key[len(start) :].partition(".")[0] for key in BOUNDS if key.startswith(start)))


def _finding(problem: Problem, document: Document) -> Finding:
    place = document.place(problem.node.path if problem.node else ())
    return document.told(Finding(problem.code, problem.key, problem.message, problem.hint, place))


def listed(code: str, make: Callable[[str], str], hint: str) -> Parser:
    """A list of strings of a form; [] allows nothing."""

    def parse(reader: Reader, key: str, node: Node) -> str:
        try:
            return make(string(reader, key, node))
        except WrongError:
            raise
        except ValueError as error:
            raise reader.wrong(code, key, node, str(error), hint) from None

    return many(parse)


def folder(written: str) -> str:
    """An absolute folder. One with a `..` could mean two places, with a link before it."""
    if not written.startswith("/"):
        raise ValueError(f"{quote(written)} is not absolute")
    if ".." in written.split("/"):
        raise ValueError(f"{quote(written)} has a '..'")
    return "/" + "/".join(part for part in written.split("/") if part not in ("", "."))


def one_word(*words: str, folders: bool = False, stored: bool = False) -> Callable[[str], str]:
    """One of some words, or where those are allowed an absolute folder, or what the store has, by its digest."""

    def make(written: str) -> str:
        if folders and "/" in written:
            return written if stored and IN_STORE.fullmatch(written) else folder(written)
        if written not in words:
            raise ValueError(f"{quote(written)} is none of {', '.join(words)}" + (", and no folder" if folders else ""))
        return written

    return make


def a_name(written: str) -> str:
    if not written.isprintable() or not written.isascii() or not written or " " in written or "," in written:
        raise ValueError(f"{quote(written)} is no name that --allow-unenforced takes")
    return written


def a_registry(written: str) -> str:
    """HOST[:PORT], or a part of one, HOST[:PORT]/PATH: as in the name of an image, where a host without a dot or a port
    would be a part of a short name."""
    host, _, path = written.partition("/")
    known = host == "localhost" or "." in host or ":" in host
    if not known or not _HOST.fullmatch(host) or ("/" in written and not _PATH.fullmatch(path)):
        raise ValueError(f"{quote(written)} is no registry")
    return written


def a_key(written: str) -> str:
    """A public key as `cosign public-key` and openssl(1) write it; whether it is one its first use says."""
    if not _PEM.fullmatch(written.strip()):
        raise ValueError("it is no public key in PEM")
    return written.strip()


def signers(reader: Reader, key: str, node: Node) -> tuple[Signers, ...]:
    """A table of lists of keys, or of tables with those; a registry of which nothing is right is left out, and told."""
    found = []
    for name, child in reader.typed(key, node, dict, f"a table: [{key}]").items():
        one = below(key, name)
        try:
            found.append(_signers(reader, one, a_registry(name), child))
        except WrongError:
            continue
        except ValueError as error:
            reader.wrong("bad-bound", one, child, str(error), _REGISTRY)
    return tuple(found)


def _no_key(name: str, reader: Reader, key: str, node: Node) -> NoReturn:
    unknown(reader, key, name, node, tuple(_SIGNERS))
    raise WrongError(key)


_KEYS = listed("bad-bound", a_key, _KEY)
_SIGNERS: Mapping[str, Parser] = {"keys": _KEYS, "newest": truth, "any_repository": truth}


def _signers(reader: Reader, key: str, place: str, node: Node) -> Signers:
    """Of one registry. What is wrong in its table leaves it out as a whole: less than all of it would allow more."""
    if not isinstance(node.value, dict):
        return Signers(place, _KEYS(reader, key, node))
    values, bad = {}, False
    for name, child in node.value.items():
        try:
            values[name] = (_SIGNERS.get(name) or partial(_no_key, name))(reader, below(key, name), child)
        except WrongError:
            bad = True
    if "keys" not in node.value:
        raise reader.wrong("bad-bound", key, node, "it has no keys", 'write keys = ["""…"""], or [] for nobody')
    if bad:
        raise WrongError(key)
    return Signers(place, **values)


def most_size(reader: Reader, key: str, node: Node) -> Size:
    """A size that is none is a mistake here, and not an absent bound."""
    try:
        return Size.parse(reader.typed(key, node, str, '"512M", "2G" or "25%"'))
    except WrongError:
        raise
    except ValueError as error:
        raise reader.wrong("bad-size", key, node, str(error), "write 512M, 2G, 1.5GiB or 25%") from None


def most_pids(reader: Reader, key: str, node: Node) -> int:
    value = reader.typed(key, node, int, f"a number from 1 to {MOST_PIDS}")
    if not 1 <= value <= MOST_PIDS:
        hint = f"write a number from 1 to {MOST_PIDS}"
        raise reader.wrong("out-of-range", key, node, f"{quote(value)} is not between 1 and {MOST_PIDS}", hint)
    return value


def _profiles(*words: str) -> Parser:
    return listed(
        "bad-bound",
        one_word(*words, folders=True, stored=True),
        f"write {', '.join(words)}, the folder of files that may be used, or cas://sha256:… of one in the store",
    )


FOLDERS = listed("bad-bound", folder, "write the absolute path of a folder, as it is without links")
WORDS_OR_FOLDERS = "list of words and folders"

# Each key has the name of what it bounds in a manifest; but for `images`, which bounds `volt image pull` too.
BOUNDS: Mapping[str, BoundField] = {
    "allow_unenforced": BoundField(
        "allow_unenforced",
        listed("bad-bound", a_name, 'write a name that --allow-unenforced takes, as "resources"'),
        "list of names",
        "The waivers that `--allow-unenforced` may give.",
    ),
    "workload.env_file": BoundField(
        "env_file", FOLDERS, "list of folders", "Below which folders an env_file lies: root reads it."
    ),
    "kernel.modules": BoundField(
        "kernel_modules",
        listed("bad-module", forms.module, MODULE_HINT),
        "list of names",
        "The modules that manifests may have loaded into the host's kernel. Where the key is absent there are none.",
    ),
    "security.capabilities": BoundField(
        "capabilities",
        listed("bad-capability", forms.capability, "write a name of capabilities(7), as NET_ADMIN"),
        "list of capabilities",
        "The most that a payload can have. A manifest that names none asks for podman's eleven.",
    ),
    "security.seccomp_profile": BoundField(
        "seccomp_profile",
        _profiles("strict", "default", "unconfined"),
        WORDS_OR_FOLDERS,
        "The profiles that may be used: strict, default (also where a manifest names none), unconfined; files of "
        "one's own below a folder; or cas://sha256:…, one in the store.",
    ),
    "security.landlock_profile": BoundField(
        "landlock_profile",
        _profiles(*(word for word in LandlockProfile if word != LandlockProfile.CUSTOM)),
        WORDS_OR_FOLDERS,
        "Likewise: strict, default, permissive; files of one's own below a folder, custom or by path; or cas://sha256:….",
    ),
    "resources.memory_limit": BoundField(
        "memory_limit", most_size, "size", "memory_limit has to be written, and be at most this."
    ),
    "resources.pids_max": BoundField("pids_max", most_pids, "integer", "pids_max likewise."),
    "network.mode": BoundField(
        "network_mode",
        listed("bad-bound", one_word(*NetworkMode), f"write {', '.join(NetworkMode)}"),
        "list of modes",
        "The modes that may be used: bridge (also where a manifest names none), host, none, custom.",
    ),
    "network.name": BoundField(
        "network_name",
        listed("bad-bound", forms.label, "write the name of a network, as volt net ls has it"),
        "list of names",
        "The networks that custom may join.",
    ),
    "storage.rootfs": BoundField(
        "rootfs",
        listed(
            "bad-bound",
            one_word("host", "image", folders=True),
            "write host, image, or the folder that roots lie below",
        ),
        WORDS_OR_FOLDERS,
        "The roots that may be used: host, image (any of this machine's), or a folder below which they lie.",
    ),
    "images.registries": BoundField(
        "image_registries",
        listed("bad-bound", a_registry, _REGISTRY),
        "list of registries",
        "The registries, or parts of one (HOST/PATH), that images may be pulled from, mirrors too: nothing is asked of "
        "another, and no image starts that was pulled there before. What `volt image import` brought in is from none.",
    ),
    "images.signers": BoundField(
        "image_signers",
        signers,
        "table of lists of keys, or of tables",
        "By registry, or part of one (HOST/PATH), the public keys, PEM, of which one has to have signed what comes "
        "from there. That is asked before anything is pulled, and again when a launch is planned; where several parts "
        "hold an image, for each of them. What comes from elsewhere is used unsigned. Instead of a list a table may "
        "stand: `keys`, the list; `newest = true`, by which a name is refused that means something signed earlier than "
        "what was once pulled by it; `any_repository = true`, by which a signature counts that names no repository.",
    ),
    "storage.volumes.host": BoundField(
        "volume_host", FOLDERS, "list of folders", "Below which folders every volume lies, read-only ones too."
    ),
    "storage.volumes.writable": BoundField(
        "volume_writable", FOLDERS, "list of folders", "Below which folders volumes lie that are not read-only."
    ),
    "storage.volumes.owner": BoundField(
        "volume_owner",
        listed("bad-bound", one_word("root"), "write root, or nothing"),
        "list of words",
        '`[]`: no volume may have `owner = "root"`, with which the inside writes as the host\'s root.',
    ),
}
