"""scripts/bench limits works where there are controllers, whoever calls it.

VOLT_ROUNDS=40 scripts/ci-vm tests/vm/test_cost.py -rP      what limits add to a launch, with each driver
"""

import os
import subprocess
import sys

import pytest

from tests.vm.limited import CALLERS

ROUNDS = os.environ.get("VOLT_ROUNDS", "1")


# On CI by the one who has the longest way.
@pytest.mark.parametrize("caller", CALLERS if "VOLT_ROUNDS" in os.environ else ["systemd from a scope"])
def test_what_limits_add_is_measured(caller):
    words = [*CALLERS[caller], sys.executable, "-m", "bench", "limits", f"--rounds={ROUNDS}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "volt run with four limits" in done.stdout
    sys.stdout.write(done.stdout)
