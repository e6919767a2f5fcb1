"""Commands that a studio starts: real processes, what is known of them, only one at a time."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from timing import FakeClock, wait_for

from pocketlens import processes
from pocketlens.errors import BusyError, OutputError, UsageError
from pocketlens.studio import jobs as jobs_module
from pocketlens.studio.jobs import (
    CANCELLED,
    CANCELLING,
    DONE,
    FAILED,
    LOST,
    RUNNING,
    Jobs,
    read_process,
)
from pocketlens.studio.supervisor import look_after

if sys.platform == "win32":
    pytest.skip("locks and sessions are Unix's", allow_module_level=True)

VERSION = ("--version",)


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path)
    yield made
    running = made.running()
    if running:
        made.cancel(running, at_once=True)
        wait_for(lambda: not made.get(running.name).is_running)


@pytest.fixture
def endless(tmp_path, tiny_tflite):
    """The words of a command that goes on until it is told to end."""
    return ("live", str(tiny_tflite), "--source", "fake:still", "--fps", "5", "--jsonl", "-")


def ended(jobs, job):
    return wait_for(lambda: (now := jobs.get(job.name)) and not now.is_running and now)


def started(jobs, job):
    """Wait until the command of a job prints something."""
    wait_for(lambda: jobs.read_log(job).text, lambda: job.log.read_text("utf-8"))
    return jobs.get(job.name)


def test_a_command_runs_in_the_project_and_its_end_is_noted(jobs, tmp_path):
    job = jobs.start(VERSION)
    assert job.is_running
    job = ended(jobs, job)
    assert (job.state, job.code, job.command) == (DONE, 0, VERSION)
    assert job.ended_s >= job.asked_s
    assert jobs.read_log(job).text.startswith("pocketlens, version")
    assert [found.name for found in jobs.all()] == [job.name]
    assert jobs.running() is None
    # git is not to take it in.
    assert (tmp_path / ".studio" / ".gitignore").read_text() == "*\n"


def test_an_error_of_the_command_is_in_the_log_as_it_is(jobs):
    job = ended(jobs, jobs.start(("inspect", "nothing.tflite")))
    assert (job.state, job.code) == (FAILED, 2)
    assert job.sentence == "inspect failed (exit code 2)."
    text = jobs.read_log(job).text
    assert text.startswith("Error: Expected an existing file or folder as MODEL. Received: nothing")


def test_paths_count_from_the_project_and_names_that_are_no_utf8_are_passed_on(jobs, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    job = ended(jobs, jobs.start(("check", name)))
    assert job.state == FAILED
    assert job.command == ("check", name)
    assert "caf\\xe9 without" in jobs.read_log(job).text


def test_one_at_a_time_in_this_studio_and_in_another(jobs, endless, tmp_path):
    job = started(jobs, jobs.start(endless))
    other = Jobs(tmp_path)
    for studio in (jobs, other):
        with pytest.raises(BusyError, match="pocketlens live already runs in this project"):
            studio.start(VERSION)
    assert len(jobs.all()) == 1
    # The other one sees it, and may end it.
    assert other.running().name == job.name
    assert other.cancel(job).state == CANCELLING
    job = ended(other, job)
    assert job.code == 0
    assert ended(other, other.start(VERSION)).state == DONE


def test_of_many_that_start_at_once_one_does(tmp_path):
    studios = [Jobs(tmp_path) for _ in range(6)]
    together = threading.Barrier(len(studios))
    found = []

    def start(studio):
        together.wait()
        try:
            found.append(studio.start(VERSION))
        except BusyError as error:
            found.append(error)

    threads = [threading.Thread(target=start, args=(studio,)) for studio in studios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [entry for entry in found if not isinstance(entry, BusyError)]
    # Where the first has ended before another one looked there are two, one after the other.
    assert len(made) == len(studios[0].all()) >= 1
    for job in made:
        ended(studios[0], job)


def test_a_job_outlives_its_studio_and_is_found_again(jobs, endless, tmp_path):
    job = started(jobs, jobs.start(endless))
    # As if its studio had been killed: nothing of it is left but what is on the disk.
    new = Jobs(tmp_path)
    found = new.running()
    assert (found.name, found.state, found.command) == (job.name, RUNNING, endless)
    supervisor = read_process(job.folder / "started.json")
    assert os.getsid(supervisor.pid) != os.getsid(0)
    new.cancel(found)
    assert ended(new, found).code == 0


def test_a_job_whose_supervisor_was_killed_runs_on_and_can_be_ended(jobs, endless, tmp_path):
    job = started(jobs, jobs.start(endless))
    supervisor = read_process(job.folder / "started.json")
    command = read_process(job.folder / "process.json")
    processes.send_signal(supervisor, signal.SIGKILL)
    wait_for(lambda: not processes.runs(supervisor))
    assert jobs.get(job.name).state == RUNNING
    # The lock is the command's, too.
    with pytest.raises(BusyError, match="already runs"):
        Jobs(tmp_path).start(VERSION)
    jobs.cancel(job)
    wait_for(lambda: not processes.runs(command))
    # Nobody saw its exit code, but it was asked to end.
    job = jobs.get(job.name)
    assert (job.state, job.code) == (CANCELLED, None)


def test_a_job_of_which_nothing_is_left_is_lost(jobs, endless):
    job = started(jobs, jobs.start(endless))
    for name in ("started.json", "process.json"):
        processes.send_signal(read_process(job.folder / name), signal.SIGKILL)
    job = ended(jobs, job)
    assert (job.state, job.code) == (LOST, None)
    assert "nobody saw how" in job.sentence
    assert ended(jobs, jobs.start(VERSION)).state == DONE


def test_a_command_that_is_killed_from_outside_has_failed(jobs, endless):
    job = started(jobs, jobs.start(endless))
    processes.send_signal(read_process(job.folder / "process.json"), signal.SIGKILL)
    job = ended(jobs, job)
    assert (job.state, job.code) == (FAILED, -signal.SIGKILL)
    assert job.sentence == "live was killed from outside. Most often the memory was full."


def test_another_process_with_the_number_is_never_taken_for_the_job(jobs):
    job = ended(jobs, jobs.start(VERSION))
    (job.folder / "end.json").unlink()
    me = processes.known(os.getpid())
    for name in ("started.json", "process.json"):
        (job.folder / name).write_text(json.dumps({"pid": me.pid, "begun": "earlier"}))
    assert jobs.get(job.name).state == LOST
    jobs.cancel(jobs.get(job.name), at_once=True)
    # This process is still here.
    assert jobs.running() is None


def test_killing_ends_what_does_not_hear(jobs, endless):
    job = started(jobs, jobs.start(endless))
    command = read_process(job.folder / "process.json")
    processes.send_signal(command, signal.SIGSTOP)
    assert jobs.cancel(job).state == CANCELLING
    assert jobs.cancel(job, at_once=True).is_running
    job = ended(jobs, job)
    assert (job.state, job.killed) == (CANCELLED, True)
    assert job.sentence == "live was cancelled and had to be killed."
    assert not processes.runs(command)


def test_ctrl_c_reaches_a_command_of_a_studio_that_ignores_it(jobs, endless):
    # As a shell starts what is in the background.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = started(jobs, jobs.start(endless))
    finally:
        signal.signal(signal.SIGINT, before)
    jobs.cancel(job)
    assert ended(jobs, job).code == 0


def test_what_ended_is_not_ended_again(jobs):
    job = ended(jobs, jobs.start(VERSION))
    assert jobs.cancel(job, at_once=True) == job
    assert not (job.folder / "cancel").exists()


DEAF = (
    "import signal, time; signal.signal(2, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
)


def test_a_command_that_ignores_ctrl_c_is_killed_with_its_children_after_the_limit(tmp_path):
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);"
        "print(child.pid, flush=True); exec(sys.argv[1])"
    )
    clock = FakeClock()
    begun_s = clock.now_s()
    with subprocess.Popen(
        [sys.executable, "-c", code, DEAF], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        grandchild = processes.known(int(child.stdout.readline()))
        child.stdout.readline()
        child.stdout.readline()
        (tmp_path / "cancel").touch()
        assert look_after(child, tmp_path, 30.0, clock)
    assert child.returncode == -signal.SIGKILL
    assert 30 <= clock.now_s() - begun_s < 31
    wait_for(lambda: not processes.runs(grandchild))


def test_a_log_comes_in_parts_of_whole_lines(jobs):
    job = ended(jobs, jobs.start(VERSION))
    job.log.write_bytes("one\ntwo: é\nthr".encode())
    (job.folder / "end.json").unlink()
    running = jobs_module.Job(job.folder, VERSION, job.asked_s, RUNNING)
    part = jobs.read_log(running)
    assert (part.text, part.skipped) == ("one\ntwo: é\n", False)
    with job.log.open("ab") as log:
        log.write(b"ee\nbar 1 %\rbar 100 %\n\x1b[2Jred\tx\xff")
    part = jobs.read_log(running, part.next_byte)
    assert part.text == "three\nbar 100 %\n"
    done = jobs_module.Job(job.folder, VERSION, job.asked_s, DONE)
    part = jobs.read_log(done, part.next_byte)
    # Neither steers a terminal or page, and bytes that are no text are shown as such.
    assert part.text == "\\x1b[2Jred x\N{REPLACEMENT CHARACTER}"
    assert jobs.read_log(done, part.next_byte).text == ""
    assert jobs.read_log(done, 10**9).text.startswith("one\n")


def test_of_a_long_log_the_end_is_shown(jobs):
    job = ended(jobs, jobs.start(VERSION))
    job.log.write_bytes(b"".join(b"line %d\n" % number for number in range(100_000)))
    part = jobs.read_log(job)
    assert part.skipped
    assert part.text.startswith("line ")
    assert part.text.endswith("line 99999\n")
    assert part.next_byte == job.log.stat().st_size


def test_what_is_no_job_is_none(jobs, tmp_path):
    assert jobs.all() == []
    assert jobs.running() is None
    ended(jobs, jobs.start(VERSION))
    for name, text in (("empty", ""), ("list", "[[[["), ("words", '{"command": "train"}')):
        folder = jobs.folder / name
        folder.mkdir()
        (folder / "job.json").write_text(text)
        with pytest.raises(UsageError, match="no such job"):
            jobs.get(name)
    assert len(jobs.all()) == 1


def test_a_job_that_never_began_is_lost_and_keeps_nobody_away(tmp_path):
    clock = FakeClock()
    jobs = Jobs(tmp_path, clock=clock)
    job = ended(jobs, jobs.start(VERSION))
    # Its studio was killed before it could start anything.
    for name in ("started.json", "process.json", "end.json"):
        (job.folder / name).unlink()
    assert jobs.get(job.name).state == RUNNING
    clock.advance(11)
    assert jobs.get(job.name).state == LOST


def test_where_nothing_can_be_written_it_is_said(tmp_path):
    (tmp_path / ".studio").write_text("a file")
    with pytest.raises(OutputError, match="Cannot write"):
        Jobs(tmp_path).start(VERSION)
