"""The generated files that every payload finds: hosts, hostname, resolv.conf, and a fresh /etc."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.modes import NetworkMode
from volt.model.workload import Workload

NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def hosts(workload: Workload) -> str:
    """/etc/hosts, hosts(5): itself and localhost, in IPv4 and IPv6."""
    return f"127.0.0.1 localhost\n127.0.1.1 {workload.host_name}\n::1 localhost ip6-localhost ip6-loopback\n"


def resolv_conf(workload: Workload, facts: Facts) -> str:
    """/etc/resolv.conf, resolv.conf(5): the given resolvers; in the host's network the host's own file,
    whose resolvers answer from there, a loopback one too; with no network none."""
    if workload.network.dns:
        return "".join(f"nameserver {address}\n" for address in workload.network.dns)
    return facts.resolv_conf if workload.network.mode == NetworkMode.HOST else ""


def generated(workload: Workload, facts: Facts) -> dict[str, str]:
    """Absolute path inside → content, of the files that are mounted over the image's own."""
    return {
        "/etc/hosts": hosts(workload),
        "/etc/hostname": workload.host_name + "\n",
        "/etc/resolv.conf": resolv_conf(workload, facts),
    }
