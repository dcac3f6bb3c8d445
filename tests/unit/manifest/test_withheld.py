"""Under sudo a file that its user could not read himself is not quoted by any finding."""

import pytest

from tests.unit.manifest.world import COMPLETE, World
from volt.cli.findings import document, render
from volt.manifest import locate, resolve
from volt.manifest.chain import WITHHELD
from volt.model.findings import Finding

SECRET = "hunter2"
TEXTS = {
    "a line": f'[workload]\nname = "{SECRET}!"\nmode = "container"',
    "a key": f"{COMPLETE}{SECRET} = 1",
    "a near key": f"{COMPLETE}[{SECRET}]\n[networ]",
    "a word": COMPLETE + f'[network]\nmode = "{SECRET}"',
    "no TOML": f"{SECRET} = {SECRET}",
    "a key that is there twice": f"{SECRET} = 1\n{SECRET} = 2",
    "no UTF-8": SECRET.encode() + b"\xff",
    "a variable": COMPLETE + f'description = "${{{SECRET}}}"',
    "a reference": COMPLETE + f'description = "${{{SECRET}"',
    "a volume": COMPLETE + f'[[storage.volumes]]\nhost = "/{SECRET}"\ncontainer = "/a"',
    "a base from the store": f'extends = "cas://{SECRET}"\n{COMPLETE}',
    "a missing base": f'extends = "{SECRET}"\n{COMPLETE}',
    "a cycle": 'extends = "./secret.toml"',
    "a label": COMPLETE + f'labels = {{ "{SECRET}\\n" = "" }}',
    "a note": COMPLETE + f'[kernel]\ncmdline = "{SECRET}"',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("name", ["secret.toml", "a.toml"])
def test_a_finding_keeps_its_code_and_place_alone(text, name):
    files = {"secret.toml": text, "a.toml": 'extends = "secret.toml"'}
    findings = resolve(name, World(files, secret={"secret.toml"})).findings
    assert findings
    for finding in findings:
        assert (finding.key, finding.message, finding.hint, finding.source) == ("", WITHHELD, "", "")
        assert finding.code
        assert finding.place.file == "secret.toml"
    assert SECRET not in render(findings) + str(document(findings))
    open_ = resolve(name, World(files)).findings
    assert [(one.code, one.place, one.severity) for one in open_] == [
        (one.code, one.place, one.severity) for one in findings
    ]


def test_a_finding_in_another_file_of_the_chain_is_told():
    files = {"secret.toml": COMPLETE, "a.toml": 'extends = "secret.toml"\nodd = 1'}
    (finding,) = resolve("a.toml", World(files, secret={"secret.toml"})).findings
    assert (finding.key, finding.source) == ("odd", "odd = 1")


@pytest.mark.parametrize(
    ("child", "base"),
    [
        ('[resources]\nmemory_soft = "2G"', '[resources]\nmemory_limit = "1234567"'),
        ('[network]\naddress = "10.0.0.7"', '[network]\nmode = "host"'),
        ('[[storage.volumes]]\nhost = "/srv"\ncontainer = "/x"', '[storage]\ntmpfs = ["/x:size=1234567"]'),
    ],
)
def test_it_does_not_tell_what_the_other_file_holds(child, base):
    files = {"secret.toml": COMPLETE + base, "a.toml": f'extends = "secret.toml"\n{child}'}
    (finding,) = resolve("a.toml", World(files, {"/srv"}, secret={"secret.toml"})).findings
    assert finding.place.file == "a.toml"
    assert "1234567" not in finding.message + finding.hint
    assert '"host"' not in finding.message


def test_a_finding_of_the_plan_is_withheld_too():
    files = {"secret.toml": COMPLETE + f'user = "{SECRET}"', "a.toml": 'extends = "secret.toml"'}
    result = resolve("a.toml", World(files, secret={"secret.toml"}))
    (finding,) = locate((Finding("unknown-user", "workload.user", f"no user {SECRET}", SECRET),), result)
    assert (finding.code, str(finding.place), finding.message) == ("unknown-user", "secret.toml:4:8", WITHHELD)
    assert SECRET not in str(finding)


def test_a_finding_of_the_plan_points_at_what_holds_the_value():
    result = resolve("a.toml", World({"a.toml": COMPLETE + '[storage]\nrootfs = "/r"\n'}))
    keys = ["storage.rootfs", "storage.volumes[3].host", "limits.nofile", 'workload.env."a.b"']
    places = [str(finding.place) for finding in locate(tuple(Finding("x", key, "") for key in keys), result)]
    assert places == ["a.toml:5:10", "a.toml:4:2", "a.toml", "a.toml:1:2"]
