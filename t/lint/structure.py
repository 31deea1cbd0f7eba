"""The architecture as rules: who may include, call and export what.

    structure.py [MODULE.so]
    structure.py --self-test    each rule finds what is planted against it

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

# Calls that wait for a disk.  In the module they are made while it is
# configured, and in the bodies of thread tasks, which are named *_work or
# *_work_STEP.
DISK = (r"fsync|fdatasync|sync_file_range|rename|renameat2?|unlink|unlinkat"
        r"|mkdir|rmdir|link|open|openat|fopen|stat|fstat|statvfs|access"
        r"|pread|pwrite|readv|writev|preadv|pwritev|posix_fallocate|ftruncate"
        r"|ngx_open_file|ngx_delete_file|ngx_rename_file|ngx_create_dir"
        r"|ngx_file_info|ngx_read_file|ngx_write_file|ngx_read_fd|ngx_write_fd")
DISK_FILES = r"ngx_module/(?!conf)"
DISK_FUNCTIONS = r"\w+_work(_\w+)?$"

# folders of somebody's own machine: in no file of the repository
MACHINE = re.compile(r"(?<![\w./$}~-])/" + r"(?:work|farm|home/\w+)/")

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


def functions(code):
    """(name, first line, last line) of each function; both styles put its
    name at the beginning of a line and its braces too."""
    found = []
    name = start = None
    for n, line in enumerate(code.splitlines(), 1):
        m = re.match(r"(?:\w[\w *]*[ *])?(\w+)\(", line)
        if m:
            name = m.group(1)
        if line.startswith("{"):
            start = n
        elif line.startswith("}") and start:
            found.append((name, start, n))
            start = None
    return found


def check_disk(name, code):
    if not re.match(DISK_FILES, name):
        return
    lines = code.splitlines()
    for function, start, end in functions(code):
        if function and re.match(DISK_FUNCTIONS, function):
            continue
        for n in range(start, end + 1):
            m = re.search(rf"(?<![\w>.])({DISK})\s*\(", lines[n - 1])
            if m:
                wrong(name, n, f"{function}() calls {m.group(1)}(): disks are "
                      "for thread tasks (functions named *_work)")


def check_sizes(name, text, code):
    lines = text.count("\n")
    most = LINES_H if name.endswith(".h") else LINES_C
    if lines > most:
        wrong(name, lines, f"{lines} lines; a file is one idea "
              f"(at most {most})")
    for _, start, end in functions(code):
        if end - start > LINES_FUNCTION:
            wrong(name, start, f"a function of {end - start} lines "
                  f"(at most {LINES_FUNCTION})")


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


def check_exports(module, symbols=None):
    if symbols is None:
        symbols = subprocess.run(
            ["nm", "-D", "--defined-only", module], check=True,
            capture_output=True, text=True).stdout
    for line in symbols.splitlines():
        symbol = line.split()[-1].split("@")[0]
        if not EXPORTS.match(symbol):
            wrong(module, 0, f"exports {symbol}")


def check_machine(name, text):
    for n, line in enumerate(text.splitlines(), 1):
        m = MACHINE.search(line)
        if m:
            wrong(name, n, f"{m.group(0)}: a path of somebody's machine")


def check_source(name, text):
    code = without_comments(text)
    check_includes(name, text)
    check_calls(name, code)
    check_disk(name, code)
    check_sizes(name, text, code)
    check_programs(name, text)
    if name.endswith(".h") and not text.startswith("/*"):
        wrong(name, 1, "a header opens with what it is for")


def tracked():
    """Every text file of the repository; none in an unpacked release."""
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT,
                         capture_output=True, text=True)
    for name in out.stdout.split("\0"):
        path = ROOT / name
        if not name or name.startswith("t/fuzz/corpus/") \
                or not path.is_file():
            continue
        try:
            yield name, path.read_text()
        except UnicodeDecodeError:
            pass


# file, its text, and a word of what must be said of it; "" is nothing
PLANTS = [
    ("lib/a.c", '#include "lib/str.h"\n#include <string.h>\n', ""),
    ("lib/a.c", "#include <sys/socket.h>\n", "includes sys/socket.h"),
    ("lib/a.c", "#include <ngx_core.h>\n", "includes ngx_core.h"),
    ("lib/a.c", "#include <libavutil/frame.h>\n", "includes libavutil"),
    ("lib/a.c", '#include "str.h"\n', "included from the root"),
    ("lib/a.c", "int\nf(void)\n{\n    strcpy(a, b);\n}\n", "strcpy"),
    ("lib/a.c", "    strcat (a, b);\n", "strcat"),
    ("lib/a.c", "    x = strtok(a, b);\n", "strtok"),
    ("lib/a.c", "    x = strtok_r(a, b, c);\n", ""),
    ("lib/a.c", "    /* strcpy(a, b) */ f(\"sprintf(\");\n", ""),
    ("lib/a.c", "    p->connect(1);\n", ""),
    ("lib/a.c", "    connect(1);\n", "calls connect"),
    ("lib/a.h", "#define A\n", "a header opens"),
    ("lib/a.h", "/* A. */\n" + "\n" * LINES_H, "lines; a file"),
    ("lib/a.c", "\n" * (LINES_C + 1), "lines; a file"),
    ("lib/a.c", "int\nf(void)\n{\n" + "\n" * (LINES_FUNCTION + 1) + "}\n",
     "a function of"),
    ("ngx_module/api/a.c", "#include <libpq-fe.h>\n", "speaks libpq"),
    ("ngx_module/backend/pg_x.c", "#include <libpq-fe.h>\n", ""),
    ("ngx_module/backend/redis.c", "#include <hiredis/async.h>\n", ""),
    ("ngx_module/api/a.c", "#include <hiredis/async.h>\n", "speaks hiredis"),
    ("ngx_module/backend/pg.c", "    PQexecParams(c);\n", "PQexecParams"),
    ("ngx_module/backend/redis.c", "    redisCommand(c);\n", "redisCommand"),
    ("ngx_module/backend/redis.c", "    redisAsyncCommand(c);\n", ""),
    ("ngx_module/backend/pg.c", "    getaddrinfo(c);\n", "getaddrinfo"),
    ("ngx_module/backend/task.c", "    getaddrinfo(c);\n", ""),
    ("ngx_module/a.c", "    ngx_thread_task_post(p, t);\n", "task.c alone"),
    ("ngx_module/a.c", "    usleep(1);\n", "usleep"),
    ("ngx_module/a.c",
     "static void\navp_x(void *data)\n{\n    fsync(fd);\n}\n", "fsync"),
    ("ngx_module/a.c",
     "static void\navp_x_work(void *data)\n{\n    fsync(fd);\n}\n", ""),
    ("ngx_module/conf_x.c",
     "char *\navp_x(void *data)\n{\n    mkdir(a, 1);\n}\n", ""),
    ("workerd/a.c", "#include <libavcodec/avcodec.h>\n", "touches libav"),
    ("workerd/supervisor/a.c", "#include <libavformat/avio.h>\n", "libav"),
    ("workerd/media/a.c", "#include <libavformat/avio.h>\n", ""),
    ("workerd/media/a.c", "#include <libpq-fe.h>\n", "no database"),
    ("workerd/media/a.c", "#include <curl/curl.h>\n", "no database"),
    ("workerd/media/a.c", '    execl("/bin/ffmpeg -i", a);\n', "FFmpeg"),
    ("workerd/a.c", "    system(a);\n", "no shell"),
]


def self_test():
    failed = 0
    for name, text, want in PLANTS:
        problems.clear()
        check_source(name, text)
        said = "\n".join(problems)
        if (want not in said) or (not want and said):
            print(f"{name}: {text[:60]!r}: wanted {want!r}, got {said!r}")
            failed += 1

    problems.clear()
    check_folders(["lib/a.c", "workerd/lib/b.c", "workerd/c.c"])
    check_exports("x.so", "0 T avp_uuid_v4\n0 D ngx_modules\n0 T helper\n"
                          "0 D ngx_http_avp_module\n")
    check_machine("x", "see /" + "work/notes\nbuild/work/x ~/work/\n")
    if len(problems) != 3:
        print("folders, exports, paths:", *problems, sep="\n  ")
        failed += 1
    print(f"structure: {len(PLANTS) + 3} plants, {failed} not found")
    return bool(failed)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()

    files = sorted(str(p.relative_to(ROOT)) for top in FOLDERS
                   for p in (ROOT / top).rglob("*.[ch]"))
    for name in files:
        check_source(name, (ROOT / name).read_text())
    for name, text in tracked():
        check_machine(name, text)
    check_folders(files)
    for module in sys.argv[1:]:
        check_exports(module)
    print("\n".join(problems), end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
