"""The distribution's NGINX with the module, in a prefix of its own.

    Nginx(run, env={...}, storage=folder,
          http={"avp_redis": None,                     # leave out
                "avp_database": "env:DATABASE_URL connections=1 timeout=1s",
                "avp_jwt": ["hs256 env:A kid=1", "hs256 env:B kid=2"]},
          locations={"= /x": "return 204;"}, main="...", server="...")

`check_log()` is the end of every test: no alert, no sanitizer report, no
socket left open.
"""

import functools
import os
import pathlib
import re
import shutil
import signal
import socket

from .run import (BUILD, ROOT, alive, free_port, is_asan, nginx_version,
                  run_command, wait_until)

HTTP = {
    "avp_env_file": "{prefix}/avp.env",
    "avp_zone": "avp:16m",
    "avp_database": "env:DATABASE_URL connections=4 timeout=5s",
    "avp_redis": "env:REDIS_URL timeout=2s",
    "avp_storage": "file {storage}",
    "avp_jwt": "hs256 env:JWT_SECRET kid=1",
    "avp_delivery_key": "kid=1 env:DELIVERY_SECRET",
    "avp_public_url": "env:API_URL",
}

LOCATIONS = {
    "/api/v1/": "avp_api; client_max_body_size 0;"
                " client_body_buffer_size 256k;",
    "/v/": "root {storage}; include {root}/conf/delivery.conf;",
    "= /stub": "stub_status;",
}

# by its whole path: a binary upgrade executes argv[0] without looking in PATH
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")

BAD = re.compile(r"\[(alert|emerg|crit)\]|Sanitizer|runtime error:"
                 r"|open socket|worker process \d+ exited on signal")


@functools.lru_cache(None)
def asan_library():
    return run_command(["gcc", "-print-file-name=libasan.so"]).stdout.strip()


class Nginx:
    def __init__(self, run, *, name="nginx", env=None, storage=None,
                 workers=1, log="info", http=None, main="", server="",
                 http_extra="", locations=None, module=True, tls=False,
                 h2c=False, master=True, port=None, user=None):
        self.run = run
        self.prefix = run.folder(name)
        for f in ("logs", "temp", "www"):
            run.folder(f"{name}/{f}")
        self.env = dict(env or {})
        self.storage = pathlib.Path(storage or run.path / "storage")
        self.workers_wanted = workers
        self.log_level = log
        self.http = {**HTTP, **(http or {})} if module else dict(http or {})
        self.locations = dict(LOCATIONS if module else
                              {"= /stub": "stub_status;"})
        self.locations.update(locations or {})
        self.main = main
        self.server = server
        self.http_extra = http_extra
        self.module = module
        self.master = master
        self.user = user
        self.port = port or free_port()
        self.tls_port = free_port() if tls else None
        self.h2c_port = free_port() if h2c else None
        self.conf = self.prefix / "nginx.conf"
        self.error_log = self.prefix / "logs/error.log"
        self.access_log = self.prefix / "logs/access.log"
        self.pidfile = self.prefix / "nginx.pid"
        self._checked = 0
        if tls:
            self._certificate()
        run.add(self)

    # -- configuration -----------------------------------------------------

    def _certificate(self):
        run_command(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-keyout", self.prefix / "key.pem", "-out",
                     self.prefix / "cert.pem", "-subj", "/CN=localhost",
                     "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])

    def _fill(self, text):
        return (text.replace("{prefix}", str(self.prefix))
                .replace("{storage}", str(self.storage))
                .replace("{root}", str(ROOT)))

    def render(self):
        out = []
        if self.module:
            out.append(f"load_module {BUILD}/ngx_http_avp_module.so;")
            out.append("thread_pool avp_io threads=8 max_queue=4096;")
            out.append("thread_pool avp_hash threads=2 max_queue=32;")
        if os.geteuid() == 0:
            out.append(f"user {self.user or 'root'};")
        if is_asan():
            out += ["env LD_PRELOAD;", "env ASAN_OPTIONS;",
                    "env UBSAN_OPTIONS;"]
        if not self.master:
            out.append("master_process off;")
        out += [f"worker_processes {self.workers_wanted};",
                "worker_shutdown_timeout 60s;",
                f"pid {self.pidfile};",
                f"error_log {self.error_log} {self.log_level};",
                self._fill(self.main),
                "events { worker_connections 4096; }",
                "http {",
                "  include /etc/nginx/mime.types;",
                "  default_type application/octet-stream;",
                f"  access_log {self.access_log};"]
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            out.append(f"  {kind}_temp_path {self.prefix}/temp/{kind};")
        for name, value in self.http.items():
            if value is None:
                continue
            for v in value if isinstance(value, list) else [value]:
                out.append(f"  {name} {self._fill(v)};".replace(" ;", ";"))
        out.append(self._fill(self.http_extra))
        out.append("  server {")
        out.append(f"    listen 127.0.0.1:{self.port};")
        new = nginx_version() >= (1, 25, 1)
        if self.tls_port:
            out.append(f"    listen 127.0.0.1:{self.tls_port} ssl"
                       f"{'' if new else ' http2'};")
            out.append(f"    ssl_certificate {self.prefix}/cert.pem;")
            out.append(f"    ssl_certificate_key {self.prefix}/key.pem;")
        if self.h2c_port and not new:
            out.append(f"    listen 127.0.0.1:{self.h2c_port} http2;")
        if self.h2c_port and new:
            out.append(f"    listen 127.0.0.1:{self.h2c_port};")
        if new and (self.tls_port or self.h2c_port):
            out.append("    http2 on;")   # with h2c: told by the preface
        out.append("    server_name localhost;")
        out.append(f"    root {self.prefix}/www;")
        out.append(self._fill(self.server))
        for where, body in self.locations.items():
            if body is not None:
                out.append(f"    location {where} {{ {self._fill(body)} }}")
        out += ["  }", "}", ""]
        return "\n".join(out)

    def write(self, text=None):
        self.env.setdefault("API_URL", self.url)
        self.conf.write_text(text or self.render())
        envfile = self.prefix / "avp.env"
        envfile.write_text("".join(f"{k}={v}\n" for k, v in self.env.items()
                                   if v is not None))
        os.chmod(envfile, 0o600)

    # -- processes -----------------------------------------------------------

    def _environment(self):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if is_asan():
            env["LD_PRELOAD"] = asan_library()
            where = f"log_path={self.prefix}/logs/sanitizer"
            env["ASAN_OPTIONS"] = f"detect_leaks=0:quarantine_size_mb=16:{where}"
            env["UBSAN_OPTIONS"] = f"print_stacktrace=1:{where}"
        return env

    def _nginx(self, *args, check=True):
        return run_command(
            [NGINX, "-p", self.prefix, "-c", self.conf, "-e",
             self.error_log, *args], env=self._environment(),
            cwd=self.prefix, check=check)

    def test(self, text=None):
        """`nginx -t` as (exit status, what it said); writes the files first.
        """
        self.write(text)
        p = run_command(
            [NGINX, "-p", self.prefix, "-c", self.conf, "-e", "stderr",
             "-t"], env=self._environment(), cwd=self.prefix, check=False)
        return p.returncode, p.stderr

    def start(self, text=None):
        self.storage.mkdir(parents=True, exist_ok=True)
        self.write(text)
        if self.master:
            self._nginx()
        else:
            # Without a master NGINX still becomes a daemon by itself.
            self._nginx("-g", "daemon on;")
        wait_until(self._listening, 15, "NGINX listens")
        wait_until(lambda: len(self.workers()) >= (
            self.workers_wanted if self.master else 1), 15,
            "NGINX has its workers")
        return self

    def _listening(self):
        with socket.socket() as s:
            s.settimeout(1)
            try:
                s.connect(("127.0.0.1", self.port))
                return True
            except OSError:
                return False

    def pid(self, old=False):
        """Of the master; of the old one during a binary upgrade."""
        path = pathlib.Path(f"{self.pidfile}.oldbin") if old else self.pidfile
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            return None

    def workers(self, master=None):
        master = master or self.pid()
        if master is None:
            return []
        if not self.master:
            return [master]
        out = run_command(["ps", "-o", "pid=,args=", "--ppid", master],
                          check=False).stdout
        return [int(line.split()[0]) for line in out.splitlines()
                if "worker process" in line and "shutting" not in line]

    def signal(self, sig, old=False):
        pid = self.pid(old)
        if pid:
            os.kill(pid, sig)

    def reload(self, wait=True):
        """SIGHUP with what is on disk; until new workers serve."""
        before = set(self.workers())
        self.signal(signal.SIGHUP)
        if wait:
            wait_until(lambda: len(set(self.workers()) - before) >=
                       self.workers_wanted and
                       not before & set(self.workers()), 20,
                       "reload gives new workers")

    def upgrade(self):
        """USR2: a second master beside the old one; returns the old pid.
        End the old one with `signal(SIGQUIT, old=True)`."""
        old = self.pid()
        self.signal(signal.SIGUSR2)
        wait_until(lambda: self.pid(old=True) == old and
                   self.pid() not in (None, old) and self.workers(), 20,
                   "binary upgrade")
        return old

    def quit(self, timeout=70):
        pids = [p for p in (self.pid(True), self.pid()) if p]
        for p in pids:
            os.kill(p, signal.SIGQUIT)
        wait_until(lambda: not any(map(alive, pids)), timeout, "quit ends")

    def kill_worker(self):
        """SIGKILL of one worker; the master starts another."""
        pid = self.workers()[0]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.workers() and pid not in self.workers(), 10)
        return pid

    def stop(self):
        pids = [p for p in (self.pid(True), self.pid()) if p and alive(p)]
        for p in pids:
            for sig in (signal.SIGCONT, signal.SIGTERM):
                try:
                    os.kill(p, sig)
                except OSError:
                    pass
        try:
            wait_until(lambda: not any(map(alive, pids)), 10)
        except AssertionError:
            for p in pids:
                try:
                    os.kill(p, signal.SIGKILL)
                except OSError:
                    pass

    # -- talking to it -------------------------------------------------------

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self):
        return f"https://127.0.0.1:{self.tls_port}"

    def client(self, token=None, http2=False, timeout=30, **kw):
        """httpx.Client at the root; HTTP/2 over TLS when asked."""
        import httpx
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.tls_url if http2 else self.url,
                            http2=http2, verify=False, headers=headers,
                            timeout=timeout, **kw)

    def socket(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    # -- what it holds -------------------------------------------------------

    def active(self):
        """Connections of clients that NGINX has, this one not counted."""
        with self.client() as c:
            text = c.get("/stub").text
        return int(re.search(r"Active connections: (\d+)", text).group(1)) - 1

    def fds(self):
        """Open descriptors of each worker by what they are."""
        out = {}
        for pid in self.workers():
            kinds = []
            try:
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    try:
                        kinds.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
                    except OSError:
                        pass
            except OSError:
                pass
            out[pid] = sorted(kinds)
        return out

    def fd_count(self):
        return sum(len(v) for v in self.fds().values())

    def rss(self):
        """Resident bytes of the workers, and the peak, summed up."""
        now = peak = 0
        for pid in self.workers():
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
            now += int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024
            peak += int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) * 1024
        return now, peak

    def settled(self, fds, timeout=15):
        """Waits until no client is connected and the descriptors are back at
        `fds` (of fd_count() at a quiet moment, backends connected)."""
        wait_until(lambda: self.active() == 0, timeout,
                   "no connection is left")
        wait_until(lambda: self.fd_count() <= fds, timeout,
                   "descriptors are back at where they were")

    def log_text(self):
        try:
            return self.error_log.read_text(errors="replace")
        except OSError:
            return ""

    def check_log(self, allow=()):
        """Nothing bad in the log; `allow`: regular expressions of lines that
        the test itself brought about.  Each line is judged once."""
        text = self.log_text()
        fresh, self._checked = text[self._checked:], len(text)
        bad = [line for line in fresh.splitlines() if BAD.search(line)
               and not any(re.search(a, line) for a in allow)]
        bad += [f"{f}: {f.read_text(errors='replace')}"
                for f in (self.prefix / "logs").glob("sanitizer*")]
        assert not bad, "\n".join(bad)
