"""The architecture as rules: who may include, call and export what.

    structure.py [MODULE.so]

Prints FILE:LINE: what is wrong, and ends with 1 when anything is.  The rules
are those of docs/architecture.md; an exception is listed here with its
reason, or it is none.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("lib", "ngx_module", "workerd")

LIBAV = r"libav\w+/|libsw\w+/"
HTTP = r"curl/|microhttpd"
DB = r"libpq-fe\.h|hiredis/"
SOCKETS = r"sys/socket\.h|netinet/|netdb\.h|arpa/inet\.h|sys/un\.h"
NGINX = r"ngx_\w+\.h"

# files matching -> includes that they must not have, and why
INCLUDES = [
    (r"lib/", rf"{LIBAV}|{NGINX}|{DB}|{HTTP}|{SOCKETS}|ngx_module/|workerd/",
     "lib/ knows no host, no libav and no sockets"),
    (r"ngx_module/", rf"{LIBAV}|workerd/|{HTTP}",
     "the module shares lib/ with workerd and nothing else"),
    (r"ngx_module/(?!backend/pg)", r"libpq-fe\.h",
     "only ngx_module/backend/pg* speaks libpq"),
    (r"ngx_module/(?!backend/redis)", r"hiredis/",
     "only ngx_module/backend/redis* speaks hiredis"),
    (r"workerd/", rf"{NGINX}|ngx_module/", "workerd does not know NGINX"),
    (r"workerd/(?!media/)", LIBAV, "only workerd/media/ touches libav"),
    (r"workerd/supervisor/", r"workerd/media/",
     "the supervisor starts the media process and knows nothing of it"),
    (r"workerd/media/", rf"{DB}|{HTTP}|{SOCKETS}|workerd/supervisor/"
     r"|workerd/db\.h",
     "workerd/media/ knows no database, Redis, HTTP or network"),
]

# files matching -> calls that they must not make, and why
CALLS = [
    (r"", r"strcpy|strcat|sprintf|vsprintf|gets|strtok|tmpnam|mktemp",
     "unbounded or not reentrant"),
    (r"", r"system|popen|execlp|execvp|execvpe",
     "no shell and no search of PATH"),
    (r"ngx_module/", r"PQexec\w*|PQconnectdb\w*|PQprepare|PQreset"
     r"|redisConnect\w*|redisCommand|redisvCommand",
     "blocks the event loop"),
    # name lookups are for the threads of task.c
    (r"ngx_module/(?!backend/task\.c)", r"getaddrinfo|gethostbyname\w*",
     "blocks the event loop"),
    (r"ngx_module/", r"sleep|usleep|nanosleep|ngx_msleep|select|poll",
     "blocks the event loop"),
    (r"ngx_module/(?!backend/task\.c)", r"ngx_thread_task_post|pthread_create",
     "thread tasks are posted by backend/task.c alone"),
    (r"lib/", r"socket|connect|fork|pthread_create",
     "lib/ starts nothing and talks to nobody"),
]

# a smell begins at half of these; here it ends
LINES_C, LINES_H, LINES_FUNCTION = 800, 200, 120

# what an object that is loaded with global symbols may export
EXPORTS = re.compile(r"avp_|ngx_http_avp_|ngx_modules$|ngx_module_names$"
                     r"|ngx_module_order$")

problems = []


def wrong(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def without_comments(text):
    """Comments and the insides of strings blanked, lines kept."""
    def blank(m):
        s = m.group(0)
        if s[0] in "\"'":
            return s[0] * 2
        return "\n" * s.count("\n")
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
                  r"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


def check_includes(name, text):
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if not m:
            continue
        kind, what = m.groups()
        if kind == '"' and not (ROOT / what).is_file():
            wrong(name, n, f'"{what}": own headers are included from the root')
        for files, includes, why in INCLUDES:
            if re.match(files, name) and re.match(includes, what):
                wrong(name, n, f"includes {what}: {why}")


def check_calls(name, code):
    for n, line in enumerate(code.splitlines(), 1):
        for files, calls, why in CALLS:
            if not re.match(files, name):
                continue
            m = re.search(rf"(?<![\w>.])({calls})\s*\(", line)
            if m:
                wrong(name, n, f"calls {m.group(1)}(): {why}")


def check_sizes(name, text, code):
    lines = text.count("\n")
    most = LINES_H if name.endswith(".h") else LINES_C
    if lines > most:
        wrong(name, lines, f"{lines} lines; a file is one idea "
              f"(at most {most})")
    start = None
    for n, line in enumerate(code.splitlines(), 1):
        if line.startswith("{"):
            start = n
        elif line.startswith("}") and start:
            if n - start > LINES_FUNCTION:
                wrong(name, start, f"a function of {n - start} lines "
                      f"(at most {LINES_FUNCTION})")
            start = None


def check_programs(name, text):
    for n, line in enumerate(text.splitlines(), 1):
        if re.search(r'"[^"]*\bff(mpeg|probe)(\s[^"]*)?"', line) and \
                not re.search(r"FFMPEG_PATH|FFPROBE_PATH", line):
            wrong(name, n, "names an FFmpeg program: the product runs none")


def check_folders(files):
    """NGINX's build names objects by their last folder."""
    folders = {}
    for f in files:
        folder = pathlib.PurePosixPath(f).parent
        folders.setdefault(folder.name, set()).add(str(folder))
    for name, where in folders.items():
        if len(where) > 1:
            wrong(sorted(where)[1], 1,
                  f"another folder is called {name}: {sorted(where)[0]}")


def check_exports(module):
    out = subprocess.run(["nm", "-D", "--defined-only", module], check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        symbol = line.split()[-1].split("@")[0]
        if not EXPORTS.match(symbol):
            wrong(module, 0, f"exports {symbol}")


def main():
    files = sorted(str(p.relative_to(ROOT)) for top in FOLDERS
                   for p in (ROOT / top).rglob("*.[ch]"))
    for name in files:
        text = (ROOT / name).read_text()
        code = without_comments(text)
        check_includes(name, text)
        check_calls(name, code)
        check_sizes(name, text, code)
        check_programs(name, text)
        if name.endswith(".h") and not text.startswith("/*"):
            wrong(name, 1, "a header opens with what it is for")
    check_folders(files)
    for module in sys.argv[1:]:
        check_exports(module)
    print("\n".join(problems), end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
