"""How many claims a second, with 100,000 pending jobs of 100 users.

    PYTHONPATH=t /usr/bin/python3 t/sql/claim_rate.py [JOBS [SESSIONS]]

pgbench calls job_claim_next in SESSIONS sessions, each claim by a worker of
its own; a private server with synchronous_commit as shipped (on).  On a busy
machine the CPU time of the server's sessions a claim says more than the rate.
"""

import os
import re
import sys

from rig import Run
from rig.postgres import Postgres
from rig.run import BUILD, run_command, wait_until

FILL = """
INSERT INTO users (email, username, password_hash)
SELECT 'u' || i || '@example.com', 'u' || i, '!' FROM generate_series(1, 100) i;
WITH u AS (SELECT id, row_number() OVER () AS n FROM users),
v AS (INSERT INTO videos (user_id, title, filename, original_size, s3_key,
                          s3_bucket)
      SELECT u.id, 'v' || i, 'v.mp4', 1, 'originals/x/source.mp4', 'file'
        FROM generate_series(1, :jobs) i JOIN u ON u.n = 1 + i % 100
      RETURNING id)
INSERT INTO processing_jobs (video_id, job_type, turn)
SELECT id, 'transcode', row_number() OVER () / 100 FROM v;
INSERT INTO user_turns SELECT id, 0, :jobs / 100 FROM users;
"""
CLAIM = ("SELECT * FROM job_claim_next('bench', gen_random_uuid(), 60, '{}');"
         "\n")


def ended_cpu(pg):
    """CPU seconds of the server's sessions that have ended."""
    stat = open(f"/proc/{pg.process.pid}/stat").read().rpartition(")")[2]
    return sum(map(int, stat.split()[13:15])) / os.sysconf("SC_CLK_TCK")


def sessions_of(pg):
    """Processes of sessions, also ended ones that nobody has waited for."""
    kids = run_command(["ps", "-o", "args=", "--ppid", pg.process.pid]).stdout
    return kids.count("postgres avp ") + kids.count("<defunct>")


def main(jobs=100000, sessions=4):
    with Run() as run:
        pg = Postgres(run, fsync=True,
                      settings={"shared_buffers": "256MB",
                                "autovacuum": "off"}).start()
        run_command([BUILD / "workerd", "migrate"],
                    env={"DATABASE_URL": pg.url})
        script = run.path / "claim.sql"
        script.write_text(CLAIM)
        fill = run.path / "fill.sql"
        fill.write_text(FILL.replace(":jobs", str(jobs)))
        pg.run_file(fill)
        for analyzed in (False, True):
            if analyzed:
                pg.query("VACUUM ANALYZE")
            # whatever came before must not be counted
            wait_until(lambda: sessions_of(pg) == 0)
            cpu = ended_cpu(pg)
            out = run_command(
                [pg.bin / "pgbench", "-n", "-M", "prepared", "-f", script,
                 "-c", sessions, "-j", 2, "-T", 8, pg.url]).stdout
            rate = float(re.search(r"tps = ([\d.]+)", out).group(1))
            n = int(re.search(r"actually processed: (\d+)", out).group(1))
            wait_until(lambda: sessions_of(pg) == 0)
            cpu = (ended_cpu(pg) - cpu) / n
            taken = pg.one("SELECT count(*) FROM processing_jobs"
                           " WHERE status = 'processing'")
            print(f"{'analyzed' if analyzed else 'not analyzed':13}"
                  f" {rate:8.0f} claims/s, {cpu * 1e6:5.0f} us CPU each,"
                  f" {jobs - taken} left pending")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
