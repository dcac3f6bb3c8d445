"""A world in memory for the language: files, folders that exist, variables. No machine is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from volt.manifest import Resolved, resolve

HERE = "/home/ada"
DOTTED = 'workload.name = "web"\nworkload.mode = "container"\n'
COMPLETE = '[workload]\nname = "web"\nmode = "container"\n'


@dataclass
class World:
    """`files` is path → text; `secret` are those that whoever called sudo could not read."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    existing: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    secret: set[str] = field(default_factory=set)
    opened: list[str] = field(default_factory=list)

    def read(self, path: str) -> bytes:
        self.opened.append(path)
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        text = self.files[path]
        return text if isinstance(text, bytes) else text.encode()

    def stored(self, url: str) -> bytes:
        return self.read(url)

    def quotable(self, path: str) -> bool:
        return path not in self.secret

    def exists(self, path: str) -> bool:
        return path in self.existing

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def builtins(self) -> dict[str, str]:
        return {
            "HOSTNAME": "machine",
            "VOLT_BASE": "/var/lib/volt",
            "VOLT_CAS_DIR": "/var/lib/volt/store",
            "VOLT_RUN_DIR": "/run/volt",
        }

    def folder(self) -> str:
        return HERE


def resolved(*texts: str | bytes, given: dict[str, str] | None = None, **world) -> Resolved:
    """The texts as a.toml, b.toml, … each extending the next; the first is what is asked for."""
    names = [f"{chr(ord('a') + number)}.toml" for number in range(len(texts))]
    files = {}
    for number, text in enumerate(texts):
        head = f'extends = "{names[number + 1]}"\n' if number + 1 < len(texts) else ""
        files[names[number]] = head + text if isinstance(text, str) else head.encode() + text
    return resolve("a.toml", World(files, **world), variables=given)


def found(result: Resolved) -> list[tuple[str, str]]:
    """Code and place of each finding."""
    return [(finding.code, str(finding.place)) for finding in result.findings]


def complaints(text: str, **world) -> list[tuple[str, str]]:
    """Code and key of each finding about one text, put below a complete [workload] unless it has one."""
    whole = text if "[workload]" in text else COMPLETE + text
    return [(finding.code, finding.key) for finding in resolved(whole, **world).findings]


def workload(*texts: str, **world):
    """The workload of texts that are right."""
    result = resolved(*texts, **world)
    assert result.workload is not None, result.findings
    return result.workload
