"""Settings that launches have changed: told, and put back as far as nobody else has changed them since."""

import os

import pytest

from volt.host.sysctls import changed, give_again, put_back
from volt.model.networks import Changed

OWN, REDIRECTS = "net/ipv4/conf/wan/forwarding", "net/ipv4/conf/all/accept_redirects"
LOOPBACK = "net/ipv4/conf/volt0/route_localnet"
FORWARD, SIX, RA = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/wan/accept_ra"


class Machine:
    """A folder that stands for /proc/sys, and the notes."""

    def __init__(self, folder):
        self.root, self.notes = str(folder / "sys"), str(folder / "notes")
        os.makedirs(self.notes)

    def set(self, **values):
        for name, value in values.items():
            path = f"{self.root}/{globals()[name]}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(f"{value}\n")

    def now(self, path):
        with open(f"{self.root}/{path}") as file:
            return file.read().strip()

    def note(self, *lines, file="sysctls"):
        with open(f"{self.notes}/{file}", "a") as notes:
            notes.write("".join(lines))

    def put_back(self):
        return put_back(self.notes, self.root)


@pytest.fixture
def machine(tmp_path):
    one = Machine(tmp_path)
    one.set(FORWARD=1, SIX=1, RA=2)
    one.note(f"{FORWARD} 0\n", f"{RA} 1\n", f"{SIX} 0\n")
    return one


def test_what_was_changed_is_told_in_order(machine):
    machine.set(SIX=0)
    expected = (Changed(FORWARD, "0", "1"), Changed(RA, "1", "2"), Changed(SIX, "0", "0"))
    assert changed(machine.notes, machine.root) == expected
    assert changed(f"{machine.notes}/none", machine.root) == ()


def test_what_ports_at_127_0_0_1_have_changed_is_put_back_or_gone_with_the_bridge(machine):
    machine.note(f"{LOOPBACK} 0\n")
    assert Changed(LOOPBACK, "0", "") in changed(machine.notes, machine.root)
    machine.set(LOOPBACK=1)
    assert LOOPBACK in [one.path for one in machine.put_back().done]
    assert machine.now(LOOPBACK) == "0"


def test_all_of_it_is_put_back_the_newest_first(machine):
    done = machine.put_back()
    assert [one.path for one in done.done] == [SIX, RA, FORWARD], "an interface that forwards would lose its routes"
    assert [machine.now(path) for path in (FORWARD, RA, SIX)] == ["0", "1", "0"]
    assert done.kept == ()
    assert os.listdir(machine.notes) == []
    assert machine.put_back().done == ()


def test_what_was_put_back_is_given_again_to_a_launch_that_came_in_between(machine):
    before = changed(machine.notes, machine.root)
    machine.set(OWN=1)
    machine.note(f"{OWN} 0\n")  # of the kernel's own
    give_again(machine.notes, machine.put_back(), machine.root)
    assert [machine.now(path) for path in (FORWARD, RA, SIX)] == ["1", "2", "1"]
    assert changed(machine.notes, machine.root) == before, "noted, and in this order"
    assert len(machine.put_back().done) == len(before)


def test_what_somebody_has_changed_since_stays(machine):
    machine.set(RA=0, SIX=0)
    done = machine.put_back()
    assert machine.now(RA) == "0"
    assert done.kept == (f"{RA} is 0, which volt did not make it",)
    assert [one.path for one in done.done] == [FORWARD], "what is as before already needs nothing"


def test_what_the_kernel_sets_with_forwarding_is_as_before_once_that_has_ended(machine):
    machine.set(FORWARD=1, OWN=1, REDIRECTS=0)
    machine.note(f"{OWN} 1\n", f"{REDIRECTS} 0\n", f"{FORWARD} 0\n")
    assert OWN not in [one.path for one in machine.put_back().done], "it is still as before"
    machine.note(f"{OWN} 1\n", f"{REDIRECTS} 0\n", f"{FORWARD} 0\n")
    machine.set(FORWARD=0, OWN=0, REDIRECTS=1)  # as the kernel does it, and then somebody was killed
    assert {one.path for one in machine.put_back().done} == {OWN, REDIRECTS}
    assert (machine.now(OWN), machine.now(REDIRECTS)) == ("1", "0")
    machine.note(f"{REDIRECTS} 0\n", f"{FORWARD} 0\n")
    machine.set(FORWARD=2, REDIRECTS=1)
    assert machine.put_back().done == (), "somebody else forwards"


def test_an_interface_that_has_gone_is_nothing(machine):
    os.unlink(f"{machine.root}/{RA}")
    assert [one.path for one in machine.put_back().done] == [SIX, FORWARD]


def test_what_a_crash_left_half_done_is_taken_up_with_what_was_noted_since(machine):
    os.rename(f"{machine.notes}/sysctls", f"{machine.notes}/sysctls.going-1")
    machine.set(SIX=1, FORWARD=1)
    machine.note(f"{FORWARD} 0\n")
    assert [one.path for one in changed(machine.notes, machine.root)] == [FORWARD, RA, SIX]
    assert [one.path for one in machine.put_back().done] == [FORWARD, SIX, RA]
    assert os.listdir(machine.notes) == []


def test_a_line_that_was_not_finished_was_written_before_its_change(machine):
    machine.note("net/ipv6/conf/eth/accept_r")
    machine.note("\n../../etc/passwd 0\n", "\n")
    assert [one.path for one in changed(machine.notes, machine.root)] == [FORWARD, RA, SIX]
    assert len(machine.put_back().done) == 3
