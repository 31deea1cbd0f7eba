"""A private PostgreSQL cluster.

initdb refuses to run as root: then it runs as the user `postgres` that the
package made.  Trust authentication, on loopback and in a folder of our own.
"""

import atexit
import glob
import os
import pathlib
import pwd
import re
import signal
import subprocess

from .run import Run, alive, free_port, run_command, wait_until


def bindir():
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not found:
        raise AssertionError("PostgreSQL not found: apt-get install postgresql")
    return pathlib.Path(max(
        found, key=lambda p: float(p.split("/")[4]))).parent


_fresh = {}


def fresh_cluster(user):
    """The data folder of a cluster that nobody has started: initdb takes a
    second or two, a copy of what it made does not.  One per process."""
    if user not in _fresh:
        run = Run("avp-rig-initdb")
        atexit.register(run.close)
        home = run.folder("pg")
        if user:
            u = pwd.getpwnam(user)
            os.chown(home, u.pw_uid, u.pw_gid)
        run_command(
            [bindir() / "initdb", "-D", home / "data", "-U", "postgres",
             "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
             "--no-instructions"], user=user, cwd="/")
        _fresh[user] = home / "data"
    return _fresh[user]


class Postgres:
    def __init__(self, run, name="pg", fsync=False, settings=None):
        self.run = run
        self.bin = bindir()
        self.user = "postgres" if os.geteuid() == 0 else None
        self.home = run.folder(name, 0o755)
        self.data = self.home / "data"
        self.port = free_port()
        self.logfile = self.home / "log"
        self.process = None
        if self.user:
            u = pwd.getpwnam(self.user)
            os.chown(self.home, u.pw_uid, u.pw_gid)
        run_command(["cp", "-a", fresh_cluster(self.user), self.data])
        conf = {"listen_addresses": "'127.0.0.1'", "port": self.port,
                "unix_socket_directories": f"'{self.home}'",
                "max_connections": 100, "shared_buffers": "32MB",
                "dynamic_shared_memory_type": "posix",
                "log_min_messages": "warning", "log_connections": "off"}
        if not fsync:
            conf.update(fsync="off", synchronous_commit="off",
                        full_page_writes="off")
        conf.update(settings or {})
        with open(self.data / "postgresql.conf", "a") as f:
            for k, v in conf.items():
                f.write(f"{k} = {v}\n")
        run.add(self)

    def start(self):
        kw = {}
        if self.user:
            u = pwd.getpwnam(self.user)
            kw = dict(user=u.pw_uid, group=u.pw_gid, extra_groups=[])
        with open(self.logfile, "ab") as out:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                start_new_session=True, **kw)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(self.logfile.read_text()[-2000:])
            return run_command(
                [self.bin / "pg_isready", "-q", "-U", "postgres", "-h", "127.0.0.1", "-p",
                 self.port], check=False).returncode == 0

        wait_until(ready, 30, "PostgreSQL answers")
        self.createdb("avp")
        return self

    def createdb(self, name):
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
            raise ValueError(name)
        with self.connect("postgres") as c:
            if not c.execute("SELECT 1 FROM pg_database WHERE datname = %s",
                             (name,)).fetchone():
                c.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def url_of(self, name="avp"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    @property
    def url(self):
        return self.url_of()

    @property
    def socket_url(self):
        return (f"postgresql://postgres@/avp?host={self.home}"
                f"&port={self.port}")

    def connect(self, name="avp", autocommit=True, **kw):
        import psycopg
        return psycopg.connect(self.url_of(name), autocommit=autocommit, **kw)

    def query(self, sql, args=None, name="avp"):
        """All rows as dicts; [] for a statement without rows."""
        from psycopg.rows import dict_row
        with self.connect(name, row_factory=dict_row) as c:
            cur = c.execute(sql, args)
            return cur.fetchall() if cur.description else []

    def one(self, sql, args=None, name="avp"):
        """First column of the first row, or None."""
        rows = self.query(sql, args, name)
        return next(iter(rows[0].values())) if rows else None

    def run_file(self, path, name="avp"):
        return run_command(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
             self.url_of(name), "-f", path])

    def connections(self, name="avp"):
        """Backends of clients, without this question's own."""
        return self.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND"
            " pid <> pg_backend_pid() AND backend_type = 'client backend'",
            (name,), "postgres")

    def signal(self, sig):
        self.process.send_signal(sig)

    def freeze(self):
        """Stops the postmaster and every backend: the half-dead server."""
        self._each(signal.SIGSTOP)

    def thaw(self):
        self._each(signal.SIGCONT)

    def _children(self):
        return [int(pid) for pid in run_command(
            ["ps", "-o", "pid=", "--ppid", self.process.pid],
            check=False).stdout.split()]

    def _each(self, sig):
        for pid in [self.process.pid, *self._children()]:
            try:
                os.kill(pid, sig)
            except OSError:
                pass

    def stop(self, mode="immediate"):
        """smart (SIGTERM), fast (SIGINT), immediate (SIGQUIT), kill."""
        p = self.process
        if p is None or p.poll() is not None:
            self.process = None
            return
        self._each(signal.SIGCONT)
        children = self._children()
        self.process = None
        p.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT,
                       "immediate": signal.SIGQUIT,
                       "kill": signal.SIGKILL}[mode])
        try:
            p.wait(30)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait(10)
        # Orphans of a killed postmaster see it soon; until they are gone the
        # next one finds its shared memory in use and refuses to start.
        wait_until(lambda: not any(map(alive, children)), 15,
                   "PostgreSQL's children end")

    def restart(self, mode="immediate"):
        self.stop(mode)
        return self.start()

    def check_log(self):
        bad = [line for line in
               self.logfile.read_text(errors="replace").splitlines()
               if "PANIC:" in line or "TRAP:" in line]
        assert not bad, bad
