"""A SLURM of one machine: munge, a controller and two nodes with a dummy GPU each, everything below one folder.

`with cluster(folder) as slurm:` starts it, without systemd and without accounting, and ends every process that it
started. Needs root and Debian's packages slurm-wlm and munge. By hand: `python tests/slurm/cluster.py FOLDER`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
NODES = ("n1", "n2")
# Two cores on each node, whatever the machine has, so that GPUs run out before cores do.
SETTINGS = """\
ClusterName=heatproof
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=2
MinJobAge=3600
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=9000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=9000 Gres=gpu:1 State=UNKNOWN
PartitionName=study Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


class ClusterError(RuntimeError):
    """The cluster cannot be had here; the message says why."""


@dataclass
class Cluster:
    """A running cluster, and the folder in which its configuration, logs and state lie."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need in order to find this cluster, and no other."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        path = f"{self.folder / 'bin'}:{clean['PATH']}"
        return {**clean, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def command(self, *words: str) -> str:
        """Run one of SLURM's commands and return what it printed."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise ClusterError(f"{' '.join(words)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return what SLURM knows of every job, finished ones too: id -> field -> value."""
        lines = self.command("scontrol", "--oneliner", "show", "job").splitlines()
        shown = [dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in lines]
        return {entry["JobId"]: entry for entry in shown if "JobId" in entry}

    def states(self) -> set[str]:
        """Return the states of the nodes."""
        return set(self.command("sinfo", "--noheader", "--Node", "--format=%T").split())

    def start(self, name: str, *words: str) -> None:
        """Start a daemon in the foreground of a session of its own, so that it and its children can be ended."""
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                words, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def start_controller(self) -> None:
        self.start("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))

    def start_node(self, node: str) -> None:
        self.start(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon and wait until it is gone."""
        process = self.daemons.pop(name)
        process.send_signal(how)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Cancel what still runs, then end the daemons in the order in which they depend on each other."""
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            subprocess.run(
                ["scancel", "--user=root"], env=self.environment, capture_output=True, timeout=60, check=False
            )
            wait_for(lambda: not self.command("squeue", "--noheader"), seconds=30, fail=False)
        for name in (*NODES, "slurmctld", "munge"):
            if name in self.daemons:
                self.end(name)
        # The processes that watch over a job outlive their node, so that a node can be restarted.
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return the processes that belong to this cluster: their environment names its configuration."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in words and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found


def wait_for(condition: Callable[[], object], seconds: float = 60, fail: bool = True) -> None:
    """Wait until a condition holds; say so if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            if fail:
                raise ClusterError(f"waited {seconds:g} s in vain")
            return
        time.sleep(0.2)


def unavailable() -> str | None:
    """Return why no cluster can be started here, or nothing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)} missing): apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "a SLURM of one's own is started by root only"


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def configure(folder: Path) -> None:
    """Write the configuration and a key of its own."""
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(SETTINGS.format(folder=folder, host=host, ports=free_ports(3)))
    (folder / "gres.conf").write_text("NodeName=n[1-2] Name=gpu File=/dev/zero\n")
    # Snakemake's job step drops every SLURM variable, so that srun would look for the machine's configuration.
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec "{shutil.which("srun")}" "$@"\n')
    srun.chmod(0o755)
    # Otherwise jobs and nodes look for the machine's own control groups, which a container does not lend.
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in a new folder, and end it."""
    reason = unavailable()
    if reason:
        raise ClusterError(reason)
    configure(folder)
    slurm = Cluster(folder)
    munge = [
        "--key-file",
        "munge.key",
        "--socket",
        "munge.socket",
        "--pid-file",
        "munge.pid",
        "--seed-file",
        "munge.seed",
    ]
    places = [str(folder / word) if word.startswith("munge.") else word for word in munge]
    try:
        # --force: the folder of a test belongs to more than the daemon likes.
        slurm.start("munge", "munged", "--foreground", "--force", *places)
        wait_for(lambda: (folder / "munge.socket").exists(), seconds=15)
        slurm.start_controller()
        for node in NODES:
            slurm.start_node(node)
        wait_for(lambda: answers(slurm) and slurm.states() == {"idle"}, seconds=60)
        yield slurm
    finally:
        slurm.stop()


def answers(slurm: Cluster) -> bool:
    """Return whether the controller answers."""
    try:
        return slurm.command("scontrol", "ping").count("UP") > 0
    except ClusterError:
        return False


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).resolve()) as running:
        print(f"export SLURM_CONF={running.folder}/slurm.conf   (Ctrl+C ends the cluster)", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
