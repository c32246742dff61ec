"""The Slurm script, run by bash with stand-ins for Slurm's and Ray's commands that write down how they were called."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "builder_scripts" / "slurm_ray.sh"

# srun runs what it is given here, without its own options.
SRUN = """
log srun "$@"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
# A node of Ray is up until it is told to go; `ray status` knows whether there is a head.
RAY = """
log ray "$@"
echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >> "$LOG.tokens"
case "$1 ${2:-}" in
    "start --head") touch "$LOG.head" && exec sleep 60 ;;
    "start --block") exec sleep 60 ;;
    status*) [[ -e $LOG.head && ! -e $LOG.broken ]] ;;
esac
"""
# Counts the nodes that are up.
PYTHON = """
log python "${@:3}"
[[ ! -e $LOG.alone ]] && grep -q "start --block" "$LOG"
"""
SCONTROL = """
log scontrol "$@"
if [[ $1 == show ]]; then tr , '\\n' <<< "$3"; fi
"""
# Python, as `mis` is: whether the interrupt arrives depends on what bash left of it.
MIS = """
import os, sys, time
with open(os.environ["LOG"], "a") as log:
    log.write(" ".join(["mis", *sys.argv[1:]]) + " RAY_ADDRESS=" + os.environ["RAY_ADDRESS"] + "\\n")
try:
    time.sleep(float(os.environ.get("BUILD_S", "0")))
except KeyboardInterrupt:
    time.sleep(0.2)
    open(os.environ["LOG"] + ".finished", "w").close()
    sys.exit(130)
sys.exit(int(os.environ.get("BUILD_CODE", "0")))
"""


@dataclass
class Slurm:
    """One task of a job on the nodes localhost and two more."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        (self.folder / "one.toml").touch()
        (self.folder / "two.toml").touch()
        (self.folder / "recipes.txt").write_text("one.toml\ntwo.toml\n")
        self.variables = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "LOG": str(self.folder / "log"),
            "MIS_WAIT_S": "0.02",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": "localhost,node2,node3",
            "SLURM_CPUS_PER_TASK": "64",
            "SLURM_GPUS_ON_NODE": "8",
            **variables,
        }
        return subprocess.Popen(
            ["bash", str(SCRIPT), *(arguments or ("recipes.txt", "/shared"))],
            cwd=self.folder,
            env=self.variables,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        with self.start(*arguments, **variables) as process:
            _, errors = process.communicate(timeout=30)
        return process.returncode, errors

    def said(self, word: str) -> list[str]:
        """How a command was called."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith(f"{word} ")]

    def wait_for(self, word: str) -> None:
        end = time.monotonic() + 30
        while not self.said(word) and time.monotonic() < end:
            time.sleep(0.02)


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    bash = f'#!{shutil.which("bash")}\nset -euo pipefail\nlog() {{ echo "$*" >> "$LOG"; }}\n'
    (tmp_path / "bin").mkdir()
    for name, text in {
        "srun": bash + SRUN,
        "ray": bash + RAY,
        "python": bash + PYTHON,
        "scontrol": bash + SCONTROL,
        "mis": f"#!{sys.executable}\n{MIS}",
    }.items():
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Slurm(tmp_path)


def test_bash_can_read_it():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    # Below "warning" it takes functions that only traps call for dead.
    subprocess.run([shellcheck, "--severity=warning", str(SCRIPT)], check=True)


def test_the_head_first_then_the_others_then_the_build(slurm: Slurm):
    assert slurm.run() == (0, "")
    head, others = (line for line in slurm.said("srun"))
    assert "--nodelist=localhost ray start --head --block --node-ip-address=127.0.0.1 --port=24711" in head
    assert "--num-cpus=64 --num-gpus=8" in head
    assert "--nodes=2 --ntasks=2 --exclude=localhost ray start --block --address=127.0.0.1:24711" in others
    (build,) = slurm.said("mis")
    assert "build one.toml --out /shared/one --work /shared/one.work --engine ray --ray-address auto --yes" in build
    assert build.endswith("RAY_ADDRESS=127.0.0.1:24711")
    assert not [line for line in slurm.said("scontrol") if "requeue" in line]


def test_every_job_has_a_token_that_all_its_nodes_know(slurm: Slurm):
    seen = []
    for _ in range(2):
        slurm.run()
        tokens = set((slurm.folder / "log.tokens").read_text().splitlines())
        (slurm.folder / "log.tokens").unlink()
        assert len(tokens) == 1
        seen += tokens
    assert seen[0] != seen[1]
    assert all(re.fullmatch("token [0-9a-f]{64}", token) for token in seen)


def test_one_node_has_no_others(slurm: Slurm):
    assert slurm.run(SLURM_JOB_NODELIST="localhost") == (0, "")
    assert len(slurm.said("srun")) == 1


def test_a_task_of_an_array_takes_its_line(slurm: Slurm):
    assert slurm.run("recipes.txt", "/shared", "--limit", "8", SLURM_ARRAY_TASK_ID="1") == (0, "")
    (build,) = slurm.said("mis")
    assert build.startswith("mis build two.toml --out /shared/two --work /shared/two.work")
    assert "--yes --limit 8" in build


def test_a_line_too_few_is_named_before_anything_starts(slurm: Slurm):
    code, errors = slurm.run(SLURM_ARRAY_TASK_ID="2")
    assert code == 2
    assert "recipes.txt, line 3" in errors
    assert not slurm.said("srun")


def test_without_arguments_it_says_how(slurm: Slurm):
    code, errors = slurm.run("recipes.txt")
    assert code == 2
    assert errors.startswith("usage: sbatch")


def test_the_builds_failure_is_the_jobs(slurm: Slurm):
    code, _ = slurm.run(BUILD_CODE="3")
    assert code == 3
    assert not [line for line in slurm.said("scontrol") if "requeue" in line]


def test_out_of_time_it_lets_the_build_finish_and_queues_itself_again(slurm: Slurm):
    process = slurm.start(BUILD_S="60", SLURM_ARRAY_JOB_ID="4700", SLURM_ARRAY_TASK_ID="1")
    slurm.wait_for("mis")
    process.send_signal(signal.SIGINT)  # as `--signal=B:INT` does, to the batch shell alone
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert (slurm.folder / "log.finished").exists()
    assert slurm.said("scontrol")[-1] == "scontrol requeue 4700_1"


def test_cancelled_it_lets_the_build_finish_and_stays_away(slurm: Slurm):
    process = slurm.start(BUILD_S="60")
    slurm.wait_for("mis")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert (slurm.folder / "log.finished").exists()
    assert not [line for line in slurm.said("scontrol") if "requeue" in line]


def test_it_waits_for_all_nodes_but_not_for_ever(slurm: Slurm):
    (slurm.folder / "log.alone").touch()
    code, errors = slurm.run()
    assert code == 0
    assert set(slurm.said("python")) == {"python 3"}
    assert len(slurm.said("python")) == 60
    assert "not all of localhost node2 node3 joined Ray" in errors
    assert slurm.said("mis")


def test_a_head_that_does_not_start_is_told(slurm: Slurm):
    (slurm.folder / "log.broken").touch()
    code, errors = slurm.run()
    assert code == 1
    assert "Ray did not start on localhost (127.0.0.1:24711)" in errors
    assert not slurm.said("mis")
