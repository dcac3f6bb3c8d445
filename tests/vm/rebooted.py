"""What test_reboot has left: the workload is back, as its unit says, and nobody has started it. Only collected where
it is named."""

import json
from pathlib import Path

from tests.vm.limited import eventually
from tests.vm.test_reboot import BEFORE, boot, everybodys  # noqa: F401, a fixture
from tests.vm.test_units import systemctl
from volt import api
from volt.host.folders import folders

BOOTED = 120.0  # seconds


def state():
    return systemctl("is-active", "volt@web.service", check=False).strip()


def test_after_a_reboot_the_workload_is_back_with_its_layer_and_nothing_is_left_of_before():
    before = json.loads(BEFORE.read_text())
    assert boot() != before["boot"]
    assert eventually(lambda: state() == "active", BOOTED), systemctl("status", "volt@web.service", check=False)
    (run,) = api.inspect("web")
    assert (run.state, run.unit) == ("running", "volt@web.service")
    assert run.id != before["run"]
    layer = Path(folders().state, "layers/web/upper")
    assert (layer / "srv/starts").read_text() == "started\n" * 2
    assert api.sweep() == ()
    systemctl("disable", "--now", "volt@web.service")
    assert state() == "inactive"
