"""A private Redis on a free loopback port and a socket, nothing on disk."""

import os
import shutil
import signal
import subprocess

from .run import free_port, run_command, wait_until


class Redis:
    def __init__(self, run, name="redis", password=None):
        self.home = run.folder(name)
        self.port = free_port()
        self.socket = self.home / "redis.sock"
        self.password = password
        self.process = None
        self.server = shutil.which("redis-server") or shutil.which(
            "valkey-server")
        if not self.server:
            raise AssertionError("Redis not found: apt-get install redis-server")
        run.add(self)

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}"

    def start(self):
        conf = self.home / "redis.conf"
        text = (f"bind 127.0.0.1\nport {self.port}\nunixsocket {self.socket}\n"
                f"save \"\"\nappendonly no\ndir {self.home}\ndaemonize no\n"
                "enable-debug-command local\n")
        if self.password:
            text += f"requirepass {self.password}\n"
        conf.write_text(text)
        with open(self.home / "log", "ab") as out:
            self.process = subprocess.Popen(
                [self.server, str(conf)], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd=self.home,
                start_new_session=True)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError((self.home / "log").read_text()[-2000:])
            return self.cli("PING", check=False).stdout.strip() == "PONG"

        wait_until(ready, 15, "Redis answers")
        return self

    def cli(self, *args, check=True, timeout=10):
        cmd = ["redis-cli", "-s", self.socket]
        env = dict(os.environ)
        if self.password:
            env["REDISCLI_AUTH"] = self.password
        return run_command([*cmd, *args], check=check, timeout=timeout,
                           env=env)

    def connect(self):
        import redis
        return redis.Redis(unix_socket_path=str(self.socket),
                           password=self.password, decode_responses=True)

    def flush(self):
        self.cli("FLUSHALL")

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        p, self.process = self.process, None
        if p is None or p.poll() is not None:
            return
        p.send_signal(signal.SIGCONT)
        p.terminate()
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait(10)

    def restart(self):
        self.stop()
        return self.start()
