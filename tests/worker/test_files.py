"""Files that a task writes: stored and locked here, published by the sender alone (S4.5)."""

import fcntl
import os

from petal.worker.execute import execute


def is_locked(path) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_files_are_handed_over(project, tmp_path):
    """What a task wrote is not visible under its name; the reply names the file that the sender is to publish."""
    target = tmp_path / "out.txt"
    request = project.changed("write", {"outputs": "run-1"}, {"text": "hello"}, path=target)
    ((temporary, named),) = project.reply("write", execute(request)).files
    assert named == str(target)
    assert not target.exists()
    with open(temporary, encoding="utf-8") as file:
        assert file.read() == "hello"
    assert ".petal-run-1-" in temporary
    assert is_locked(temporary)


def test_they_stay_locked_until_they_are_published(project, tmp_path):
    """Another writer in the folder does not sweep away what waits to be published; later nothing is held."""
    request = project.changed("write", {"outputs": "run-1"}, {"text": "one"}, path=tmp_path / "one.txt")
    ((one, target),) = project.reply("write", execute(request)).files
    request = project.changed("write", {"outputs": "run-2"}, {"text": "two"}, path=tmp_path / "two.txt")
    ((two, _),) = project.reply("write", execute(request)).files
    assert os.path.exists(one)
    assert is_locked(one)
    os.replace(one, target)
    os.unlink(two)
    assert project.reply("add", execute(project.request("add", {"x": 1}))).value == 2
    assert not is_locked(target)


def test_a_task_that_fails_leaves_nothing(project, tmp_path):
    """After an error the temporary file is gone, and none is handed over."""
    before = set(os.listdir(tmp_path))
    request = project.changed(
        "write", {"outputs": "run-1"}, {"text": "x"}, path=tmp_path / "out.txt", fails=True
    )
    found = project.reply("write", execute(request))
    assert (found.error["message"], found.files) == ("after all", [])
    assert set(os.listdir(tmp_path)) == before


def test_a_mark_cannot_lead_elsewhere(project, tmp_path):
    """The mark that a request gives is only ever part of a file's name."""
    request = project.changed("write", {"outputs": "../../up"}, {"text": "x"}, path=tmp_path / "out.txt")
    ((temporary, _),) = project.reply("write", execute(request)).files
    assert os.path.dirname(temporary) == str(tmp_path)


def test_without_shared_files_it_is_refused(project, tmp_path):
    """A worker whose files nobody could publish says so."""
    found = project.reply(
        "write", execute(project.request("write", {"text": "x"}, path=tmp_path / "out.txt"))
    )
    assert found.error["code"] == "output"
    assert "does not share the files" in found.error["message"]
