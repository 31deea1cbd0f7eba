"""The common test rig: private PostgreSQL, Redis, NGINX and workerd.

Everything lives in one folder under /tmp (a `Run`) and goes with it, also
when a test fails, is interrupted or is killed.

    with Stack() as s:                  # all of it, migrated, with a user
        r = s.client().get("/api/v1/videos")

    with Run() as run:                  # or piece by piece
        pg = Postgres(run).start()
        ng = Nginx(run, http={"avp_redis": None}).start()

AVP_BUILD names the build folder: build, build-asan or build-cov.
"""

from .run import (BUILD, ROOT, Run, free_port, is_asan, log, nginx_version,
                  run_command, wait_until)
from .postgres import Postgres
from .redis_server import Redis
from .nginx import Nginx
from .workerd import Workerd
from .stack import Stack, mint
from .media import manifest, media, media_set

__all__ = ["BUILD", "ROOT", "Run", "free_port", "is_asan", "log",
           "nginx_version", "run_command", "wait_until", "Postgres", "Redis",
           "Nginx", "Workerd", "Stack", "mint", "manifest", "media",
           "media_set"]
