"""The generated files that every payload finds: hosts, hostname, resolv.conf, and a fresh /etc."""

from __future__ import annotations

from volt.model.facts import Facts
from volt.model.modes import NetworkMode
from volt.model.text import Text, text
from volt.model.workload import Workload

NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def hosts(workload: Workload, facts: Facts) -> Text:
    """/etc/hosts, hosts(5): itself and localhost, in IPv4 and IPv6."""
    name, own, own6 = f" {workload.host_name}\n", text("127.0.1.1"), text()
    if workload.network.bridged and facts.bridge:
        from volt.plan.network import addresses

        own, own6 = addresses(facts.bridge)
    six = "::1 localhost ip6-localhost ip6-loopback\n"
    return (*text("127.0.0.1 localhost\n"), *own, *text(name + six), *own6, *text(name if own6 else ""))


def resolv_conf(workload: Workload, facts: Facts) -> str:
    """/etc/resolv.conf, resolv.conf(5): the given resolvers; in the host's network the host's own file,
    whose resolvers answer from there, a loopback one too; on a bridge the one that answers there for names of
    workloads, or else those of the host's that can be reached from there; with no network none."""
    if workload.network.dns:
        return "".join(f"nameserver {address}\n" for address in workload.network.dns)
    if workload.network.bridged:
        from volt.plan import names

        return names.resolv_conf(facts, facts.bridge) if facts.bridge and names.answering(facts) else facts.upstream
    return facts.resolv_conf if workload.network.joined == NetworkMode.HOST else ""


def generated(workload: Workload, facts: Facts) -> dict[str, Text]:
    """Absolute path inside → content, of the files that are mounted over the image's own."""
    return {
        "/etc/hosts": hosts(workload, facts),
        "/etc/hostname": text(workload.host_name + "\n"),
        "/etc/resolv.conf": text(resolv_conf(workload, facts)),
    }
