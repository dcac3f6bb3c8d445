"""A workload whose unit is enabled, before its machine reboots. What comes then is in rebooted.py, which the guest of
scripts/ci-vm runs afterwards; on another machine that is left to whoever reboots it."""

import json
from pathlib import Path

import pytest

from guest.inside import REBOOT
from tests.vm.test_units import systemctl
from volt import api

AFTER = ["tests/vm/rebooted.py"]  # what is run then
BEFORE = REBOOT.with_name("before.json")
MANIFEST = '''
[workload]
name = "web"
mode = "container"
command = ["sh", "-c", """
echo started >> /srv/starts
systemd-notify --ready
exec sleep 600
"""]

[network]
mode = "none"

[storage]
rootfs = "host"
writable_layer = "overlay"

[service]
ready = "notify"
'''
FILES = {
    "/etc/volt/workloads/web.toml": MANIFEST,
    "/etc/systemd/system/volt@.service": api.systemd_template(),
    # The guest unpacks volt itself at each boot.
    "/etc/systemd/system/volt@.service.d/tests.conf": "[Unit]\nAfter=tests.service\n",
}


@pytest.fixture(autouse=True)
def everybodys(monkeypatch):
    """The state that units have."""
    monkeypatch.delenv("VOLT_ROOT", raising=False)


def test_a_workload_whose_unit_is_enabled_runs_before_a_reboot():
    for path, content in FILES.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
    systemctl("daemon-reload")
    systemctl("enable", "--now", "volt@web.service")
    (run,) = api.inspect("web")
    assert (run.state, run.unit) == ("running", "volt@web.service")
    if REBOOT.parent.exists():
        BEFORE.write_text(json.dumps({"run": run.id, "boot": boot()}))
        REBOOT.write_text(json.dumps(AFTER))
    else:
        systemctl("disable", "--now", "volt@web.service")


def boot():
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
