"""workerd as a child process."""

import json
import os
import signal
import subprocess

from .run import BUILD, free_port, is_asan, run_command, wait_until


class Workerd:
    """`env` is the whole of its settings; PATH and the sanitizers' options
    are added.  Output goes to a file: JSON lines."""

    def __init__(self, run, env, name="workerd", binary=None):
        self.run = run
        self.home = run.folder(name)
        self.binary = binary or BUILD / "workerd"
        self.env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                    "LC_ALL": "C.UTF-8"}
        if is_asan():
            self.env["ASAN_OPTIONS"] = f"log_path={self.home}/sanitizer"
            self.env["UBSAN_OPTIONS"] = (f"log_path={self.home}/sanitizer:"
                                         "print_stacktrace=1")
        self.env.update({k: str(v) for k, v in env.items() if v is not None})
        if "HEALTH_PORT" not in self.env:
            self.env["HEALTH_PORT"] = str(free_port())
        self.logfile = self.home / "log"
        self.process = None
        run.add(self)

    @property
    def health_url(self):
        return f"http://127.0.0.1:{self.env['HEALTH_PORT']}"

    def start(self, *args, **env):
        """`workerd run`; more environment for this start by keyword."""
        assert self.process is None or self.process.poll() is not None
        with open(self.logfile, "ab") as out:
            self.process = subprocess.Popen(
                [str(self.binary), "run", *args], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd=self.home,
                env={**self.env, **env}, start_new_session=True)
        return self

    def command(self, *args, check=True, timeout=120, **env):
        """Another subcommand, to its end."""
        return run_command([self.binary, *args], env={**self.env, **env},
                           cwd=self.home, check=check, timeout=timeout)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, sig):
        self.process.send_signal(sig)

    def term(self, timeout=60):
        """SIGTERM and the drain; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def kill(self):
        """SIGKILL of the supervisor alone, as the kernel would do it."""
        self.process.kill()
        self.process.wait(10)

    def kill_all(self):
        """The supervisor and the media processes: the machine is gone."""
        kids = self.children()
        self.kill()
        for pid in kids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def children(self):
        """Pids of the media processes."""
        out = run_command(["ps", "-o", "pid=", "--ppid", self.process.pid],
                          check=False).stdout
        return [int(p) for p in out.split()]

    def lines(self):
        """The log's JSON lines as dicts; others as {"raw": line}."""
        if not self.logfile.exists():
            return []
        out = []
        for line in self.logfile.read_text(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            out.append(value if isinstance(value, dict) else {"raw": line})
        return out

    def wait_log(self, text, timeout=20):
        return wait_until(
            lambda: self.logfile.exists() and text in
            self.logfile.read_text(errors="replace"), timeout,
            f"workerd logs {text!r}")

    def check_log(self):
        text = self.logfile.read_text(errors="replace") \
            if self.logfile.exists() else ""
        bad = [line for line in text.splitlines()
               if "Sanitizer" in line or "runtime error:" in line]
        bad += [f.read_text(errors="replace")
                for f in self.home.glob("sanitizer*")]
        assert not bad, "\n".join(bad)

    def stop(self):
        p = self.process
        if p is None or p.poll() is not None:
            return
        p.send_signal(signal.SIGCONT)
        p.terminate()
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            self.kill_all()
