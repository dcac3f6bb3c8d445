"""What has changed from one tree to another, by path."""

import shutil

from tests.unit.store.pieces import folder, take_folder
from volt.store.changes import changes


def told(store, before, after):
    trees = (store.tree(take_folder(store, one)) for one in (before, after))
    return [(one.kind, one.path, one.form) for one in changes(*trees)]


def test_every_difference_is_told_once_folders_first(store, tmp_path):
    before = folder(tmp_path / "before")
    after = tmp_path / "after"
    shutil.copytree(before, after, symlinks=True, copy_function=shutil.copy2, ignore=lambda *_: ["pipe"])
    (after / "new/deep").mkdir(parents=True)
    (after / "new/deep/file").write_text("new")
    (after / "etc/passwd").write_text("other")
    (after / "bin/su").chmod(0o755)
    (after / "etc/link").unlink()
    (after / "etc/link").symlink_to("elsewhere")
    shutil.rmtree(after / "tmp")
    (after / "tmp").write_text("a file")
    assert told(store, before, after) == [
        ("deleted", "/a/pipe", ""),
        ("changed", "/bin/su", "file"),
        ("changed", "/etc/link", "link"),
        ("changed", "/etc/passwd", "file"),
        ("added", "/new", "folder"),
        ("added", "/new/deep", "folder"),
        ("added", "/new/deep/file", "file"),
        ("changed", "/tmp", "file"),
    ]


def test_times_alone_are_no_change(store, tmp_path):
    assert told(store, folder(tmp_path / "one"), folder(tmp_path / "two", mtime=1_600_000_000)) == []
