"""What a payload finds, and what it does not."""

import json
import os
import subprocess
import sys

import pytest

from tests.host import altered
from volt.model.steps import Mask
from volt.plan.confinement import MASKED


def test_host_processes_are_not_there(volt):
    out = volt.shell("for p in /proc/[0-9]*; do cat $p/comm; done")
    assert len(out.splitlines()) <= 4
    assert "python" not in out


def test_host_files_beyond_the_rootfs_are_not_there(volt, busybox):
    storage = {"rootfs": str(busybox)}
    out = volt.shell("ls -a / /etc /root 2>&1; cat /etc/shadow 2>&1; true", storage=storage)
    assert "No such file" in out
    assert "debian_version" not in out


def test_the_environment_is_ours_and_nothing_of_the_callers(volt):
    volt.environment |= {"SECRET_OF_THE_CALLER": "x", "LD_PRELOAD": "/nowhere.so"}
    manifest = volt.manifest(workload={"env": {"A": "1"}, "name": "env-test"})
    done = volt("run", manifest, "--env", "B=2", "--", "/usr/bin/env")
    found = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert found == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "USER": "root",
        "HOSTNAME": "env-test",
        "A": "1",
        "B": "2",
    }


def test_a_later_source_of_a_variable_wins(volt, tmp_path):
    (tmp_path / "values").write_text("# comment\n\nA=file\nB=file\nC=a=b # kept\nPATH=/usr/bin\n")
    manifest = volt.manifest(workload={"env_file": str(tmp_path / "values"), "env": {"A": "env"}})
    done = volt("run", manifest, "-e", "B=option", "--", "sh", "-c", 'echo "$A|$B|$C|$PATH"')
    assert done.stdout == b"env|option|a=b # kept|/usr/bin\n"


def test_an_env_files_values_are_in_no_plan(volt, tmp_path):
    (tmp_path / "values").write_text("PASSWORD=very-secret\n")
    manifest = volt.manifest(workload={"env_file": str(tmp_path / "values"), "command": ["true"]})
    assert b"very-secret" not in volt("plan", manifest, "--json").stdout


def test_a_callers_leaked_descriptor_is_not_there(volt):
    with open("/etc/shadow", "rb") as leak:
        script = "ls -l /proc/self/fd; cat <&9"
        manifest = volt.manifest()
        done = subprocess.run(
            [sys.executable, "-c", LEAK, str(leak.fileno()), str(manifest), script],
            env=volt.environment,
            pass_fds=(leak.fileno(),),
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert b"9: " in done.stderr
    assert b"root:" not in done.stdout


LEAK = """
import os, sys
os.dup2(int(sys.argv[1]), 9, inheritable=True)
os.execv(sys.executable, [sys.executable, "-m", "volt", "run", sys.argv[2], "--", "bash", "-c", sys.argv[3]])
"""


@pytest.mark.kernel
def test_only_the_standard_descriptors_are_open(volt):
    assert volt.shell("ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 is ls's own


@pytest.mark.kernel
def test_root_inside_is_not_root_outside(volt):
    out = volt.shell("id -u; cat /proc/self/uid_map /proc/self/gid_map")
    first, *maps = out.splitlines()
    assert first == "0"
    for line in maps:
        inside, outside, count = map(int, line.split())
        assert (inside, count) == (0, 65536)
        assert outside >= 1879048192


@pytest.mark.kernel
def test_the_payload_has_the_default_capabilities_and_no_new_privileges(volt):
    out = volt.shell("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status")
    found = dict(line.replace("\t", "").split(":") for line in out.splitlines())
    eleven = 0b1000000000000000000010111111011 & 0
    for cap in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31):
        eleven |= 1 << cap
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapBnd"], 16) == eleven
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


@pytest.mark.kernel
def test_a_user_that_is_not_root_has_no_capability(volt, busybox):
    storage, workload = {"rootfs": str(busybox)}, {"user": "user"}
    out = volt.shell("id; grep CapEff /proc/self/status; echo $HOME $USER", storage=storage, workload=workload)
    assert "uid=1000(user) gid=1000(user) groups=1000(user),55(extra)" in out or "groups=55(extra),1000(user)" in out
    assert "CapEff:\t0000000000000000" in out
    assert "/srv user" in out


SHOWN = """
for path; do
    if [ -d $path ]; then ls -A $path; elif [ -e $path ]; then head -c 64 $path; fi 2>&- | grep -q . && echo $path
done
echo over
"""


@pytest.mark.kernel
@pytest.mark.parametrize("mode", ["none", "host"])
def test_what_is_masked_shows_nothing(volt, monkeypatch, mode):
    """And shows something where the steps that mask are left out: whoever looks may look there."""
    plan, facts = altered.planned(volt, monkeypatch, "sh", "-c", SHOWN, "sh", *MASKED, network={"mode": mode})
    assert altered.perform(plan, facts) == ("over\n", 0)
    shown, _ = altered.perform(altered.without(plan, Mask), facts)
    # A newer nspawn masks some of them too, /proc/kallsyms among them.
    assert {"/proc/interrupts", "/sys/dev/block"} <= {*shown.split()}


@pytest.mark.kernel
def test_masked_folders_are_empty_and_kernel_settings_read_only(volt):
    out = volt.shell(
        "ls /sys/firmware; for f in /proc/sys/vm/swappiness /proc/sysrq-trigger;"
        " do echo 1 2>/dev/null >$f || echo refused; done"
    )
    assert out.split() in (["refused", "refused"], ["refused"])
    assert "refused" in out


@pytest.mark.kernel
def test_generated_files(volt, busybox):
    storage = {"rootfs": str(busybox), "volumes": []}
    out = volt.shell(
        "cat /etc/hostname /etc/hosts; cat /etc/resolv.conf; hostname",
        storage=storage,
        workload={"name": "web-1"},
    )
    assert out.splitlines()[0] == "web-1"
    assert "127.0.0.1 localhost" in out
    assert out.splitlines()[-1] == "web-1"
    assert not (busybox / "etc/hosts").exists()


def test_resolv_conf_is_the_given_resolvers(volt):
    out = volt.shell("cat /etc/resolv.conf", network={"mode": "host", "dns": ["192.0.2.1", "2001:db8::1"]})
    assert out == "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"


@pytest.mark.kernel
def test_dev_has_the_usual_nodes_and_a_bounded_shm(volt):
    out = volt.shell("echo /dev/*; df -k /dev/shm | tail -1; echo x > /dev/null; head -c 3 /dev/urandom | wc -c")
    for node in ("null", "zero", "full", "random", "urandom", "tty", "pts", "shm"):
        assert f"/dev/{node}" in out
    assert " 65536 " in " ".join(out.split())


@pytest.mark.kernel
def test_shm_size_and_tmpfs_are_as_asked(volt):
    storage = {"shm_size": "8M", "tmpfs": ["/cache:size=4M,mode=0700"]}
    out = volt.shell("df -k /dev/shm /cache | tail -2; stat -c %a /cache", storage=storage)
    words = out.split()
    assert "8192" in words
    assert "4096" in words
    assert words[-1] == "700"


@pytest.mark.kernel
def test_workdir_user_and_limits(volt):
    kinds = {
        "workload": {"workdir": "/usr/lib", "user": "1234:5678"},
        "limits": {"nofile": "100:200", "core": "0"},
    }
    out = volt.shell("pwd; id -u; id -g; ulimit -Sn; ulimit -Hn; ulimit -Sc", **kinds)
    assert out.split() == ["/usr/lib", "1234", "5678", "100", "200", "0"]


@pytest.mark.kernel
def test_only_lo_with_network_none(volt):
    out = volt.shell("cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /sys/class/net/lo/flags")
    assert out.split() == ["lo", "0x9"]


@pytest.mark.kernel
def test_the_hosts_interfaces_with_network_host(volt):
    out = volt.shell("tail -n +3 /proc/net/dev | cut -d: -f1", network={"mode": "host"})
    assert set(out.split()) == set(os.listdir("/sys/class/net")) - {"bonding_masters"}


TAKE_OVER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, act):
    try:
        print(name, "TAKEN" if act() else "refused")
    except OSError as error:
        print(name, "refused")
attempt("mem", lambda: open("/proc/1/mem", "r+b"))
attempt("ptrace", lambda: libc.ptrace(16, 1, 0, 0) == 0)
buffer = ctypes.create_string_buffer(8)
class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
local = Iovec(ctypes.cast(buffer, ctypes.c_void_p), 8)
remote = Iovec(0x400000, 8)
attempt("vm", lambda: libc.process_vm_writev(1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0)
attempt("exe", lambda: open("/proc/1/exe", "rb"))
attempt("fd", lambda: os.readlink("/proc/1/fd/0"))
"""


@pytest.mark.kernel
def test_the_init_cannot_be_taken_over_by_a_payload_of_the_same_id(volt):
    out = volt.run("python3", "-c", TAKE_OVER)
    assert out.stdout.decode().splitlines() == [f"{name} refused" for name in ("mem", "ptrace", "vm", "exe", "fd")], (
        out.stderr
    )


@pytest.mark.kernel
def test_without_protection_the_same_probe_takes_a_process_over(tmp_path):
    """The test above would notice: against an unprotected process of the same id everything succeeds."""
    script = TAKE_OVER.replace("/proc/1/", "/proc/%d/").replace("ptrace(16, 1,", "ptrace(16, %d,")
    with subprocess.Popen(["sleep", "60"]) as victim:
        probe = script.replace("%d", str(victim.pid)).replace("writev(1,", f"writev({victim.pid},")
        out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
        victim.kill()
    assert "mem TAKEN" in out
    assert "fd TAKEN" in out


def test_the_record_of_a_running_workload(volt):
    run = volt.start(
        "run",
        volt.manifest(workload={"name": "rec"}),
        "--",
        "sh",
        "-c",
        "echo up; read x",
        stdin=-1,
        stdout=-1,
    )
    run.stdout.readline()
    (record,) = volt.state.glob("run/runs/*/record.json")
    document = json.loads(record.read_text())
    run.communicate(b"\n")
    assert (document["version"], document["name"], document["mode"], document["pid"]) == (
        1,
        "rec",
        "container",
        run.pid,
    )
    assert document["id"] == record.parent.name


def test_usr_local_of_the_host_is_not_shown_unless_asked(volt, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/mark").write_text("asked\n")
    assert volt.shell("ls -A /usr/local") == ""
    for place in ("/usr/local", "/usr/local/share/own"):
        volumes = [{"host": str(tmp_path / "own"), "container": place, "readonly": True}]
        assert volt.shell(f"cat {place}/mark", storage={"volumes": volumes}) == "asked\n"
