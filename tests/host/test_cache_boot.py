"""A booted image from the plan cache: without Python, and never as it was before its init changed."""

import pytest

from tests.host import front


def program(path, says):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path, busybox):
    """A root whose init is found behind two links, as Debian's is: it says one, and ends."""
    root = front.small_root(tmp_path / "root", busybox)
    program(root / "opt/one", "one")
    program(root / "opt/two", "two")
    for folder in ("usr/sbin", "usr/lib"):
        (root / folder).mkdir()
    (root / "lib").symlink_to("usr/lib")
    (root / "sbin").symlink_to("usr/sbin")
    (root / "usr/sbin/init").symlink_to("/opt/one")
    return root


@pytest.mark.parametrize("layer", ["tmpfs", "overlay"])
@pytest.mark.alone
def test_a_boot_is_answered_from_the_cache_until_its_init_is_another(tmp_path, root, layer):
    volt = front.Front(tmp_path, front.Installation(tmp_path))
    storage = {"rootfs": str(root), "writable_layer": layer}
    path = volt.manifest(workload={"name": "booted", "mode": "hybrid-native"}, storage=storage)

    def boots():
        """What is said by a boot that is planned, and by the next, which is not."""
        done = volt.planned("run", path)
        assert done.returncode == 0, done.stderr
        said = [done.stdout]
        front.let_age()
        said += [volt.planned("run", path).stdout] if not volt.hits("run", path) else []
        return {*said, volt.cached("run", path).stdout}

    front.let_age()
    assert boots() == {b"one\n"}
    (root / "usr/sbin/init").unlink()
    (root / "usr/sbin/init").symlink_to("/opt/two")
    assert boots() == {b"two\n"}
    program(root / "usr/lib/systemd/systemd", "three")
    assert boots() == {b"three\n"}
    (root / "usr/lib/systemd/systemd").chmod(0o644)
    assert boots() == {b"two\n"}
    if layer == "overlay":
        program(volt.state / "state/layers/booted/upper/opt/two", "four")
        assert boots() == {b"four\n"}
