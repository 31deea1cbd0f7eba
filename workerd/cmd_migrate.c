/*
 * workerd migrate: brings the database up to date.
 *
 * migrations/NNNN_*.sql are applied once each, in order, forward only, and
 * recorded in schema_migrations; a file is one transaction, unless its first
 * line is `-- avp: no-transaction` (then each statement, ended by a semicolon
 * at the end of a line, runs by itself and must bear repetition).  Then
 * migrations/functions/ *.sql are applied again, all in one transaction, so
 * that a running system sees either the old functions or the new ones.
 *
 * A session's advisory lock lets one migration work at a time; a second one
 * waits and finds nothing to do.  Locks on tables are waited for only briefly,
 * because a waiting ALTER TABLE makes every later query wait behind it.
 */

#include "workerd/commands.h"
#include "workerd/db.h"

#include <openssl/evp.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef AVP_SHAREDIR
#define AVP_SHAREDIR "/usr/share/avp"
#endif

#define NO_TRANSACTION "-- avp: no-transaction"
#define FILE_MAX (4 * 1024 * 1024)
#define CHECKSUM_LEN 64
#define LOCK_TRIES 5

/* Any constant will do, as long as it never changes. */
#define ADVISORY_LOCK "SELECT pg_advisory_lock(7089336938131513954)"

typedef struct {
    int   version;                   /* 0 for functions */
    char *name;                      /* 0001_tables.sql */
    char *sql;
    char  checksum[CHECKSUM_LEN + 1];
} file_t;

typedef struct {
    file_t *files;
    size_t  n;
} list_t;

static void
list_free(list_t *l)
{
    size_t i;

    for (i = 0; i < l->n; i++) {
        free(l->files[i].name);
        free(l->files[i].sql);
    }

    free(l->files);
}

/* -- reading the folder ---------------------------------------------------- */

static char *
read_file(const char *path)
{
    struct stat st;
    FILE       *f = fopen(path, "re");
    char       *text = NULL;
    size_t      n;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        avp_command_error("cannot read %s: %s", path, strerror(errno));
        goto done;
    }

    if (st.st_size > FILE_MAX || (text = malloc((size_t) st.st_size + 1)) == NULL)
    {
        avp_command_error("cannot read %s: it is too large", path);
        goto done;
    }

    n = fread(text, 1, (size_t) st.st_size, f);
    text[n] = '\0';

    if (n != (size_t) st.st_size || strlen(text) != n) {
        avp_command_error("cannot read %s: it is not a text file", path);
        free(text);
        text = NULL;
    }

done:
    if (f) {
        fclose(f);
    }

    return text;
}

static int
checksum(char dst[CHECKSUM_LEN + 1], const char *text)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned      n, i;

    if (!EVP_Digest(text, strlen(text), md, &n, EVP_sha256(), NULL)) {
        return -1;
    }

    for (i = 0; i < n; i++) {
        snprintf(dst + i * 2, 3, "%02x", md[i]);
    }

    return 0;
}

/* NNNN of `NNNN_name.sql`; 0 for any other name. */
static int
version_of(const char *name)
{
    size_t n = strlen(name);
    int    v;

    if (n < 10 || strspn(name, "0123456789") != 4 || name[4] != '_'
        || strcmp(name + n - 4, ".sql") != 0)
    {
        return 0;
    }

    v = atoi(name);

    return v > 0 ? v : 0;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const file_t *) a)->name, ((const file_t *) b)->name);
}

static int
add_file(list_t *l, const char *dir, const char *name, int version)
{
    char    path[PATH_MAX];
    file_t *more = realloc(l->files, (l->n + 1) * sizeof(*more));
    file_t *f;

    if (more == NULL) {
        avp_command_error("out of memory");
        return -1;
    }

    l->files = more;
    f = &more[l->n];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f->version = version;
    f->name = strdup(name);
    f->sql = read_file(path);

    if (f->name == NULL || f->sql == NULL || checksum(f->checksum, f->sql)) {
        free(f->name);
        free(f->sql);
        return -1;
    }

    l->n++;

    return 0;
}

/* `numbered`: only NNNN_*.sql, no number twice; otherwise every *.sql. */
static int
read_folder(list_t *l, const char *dir, bool numbered)
{
    struct dirent *e;
    const char    *dot;
    size_t         i;
    DIR           *d = opendir(dir);
    int            version, rc = -1;

    if (d == NULL) {
        avp_command_error("cannot read %s: %s; name the folder with --dir", dir,
                          strerror(errno));
        return -1;
    }

    while ((e = readdir(d)) != NULL) {
        dot = strrchr(e->d_name, '.');
        version = version_of(e->d_name);

        if (e->d_name[0] == '.' || dot == NULL || strcmp(dot, ".sql") != 0) {
            continue;
        }

        if (numbered && version == 0) {
            avp_command_error("%s/%s is not named NNNN_name.sql", dir,
                              e->d_name);
            goto done;
        }

        if (add_file(l, dir, e->d_name, version)) {
            goto done;
        }
    }

    if (l->n == 0) {
        avp_command_error("there are no .sql files in %s", dir);
        goto done;
    }

    qsort(l->files, l->n, sizeof(file_t), by_name);

    for (i = 1; numbered && i < l->n; i++) {
        if (l->files[i].version == l->files[i - 1].version) {
            avp_command_error("%s and %s have the same number",
                              l->files[i - 1].name, l->files[i].name);
            goto done;
        }
    }

    rc = 0;

done:
    closedir(d);

    return rc;
}

/* Where the migrations are: beside the build folder of a clone, else where
 * `make install` has put them. */
static void
default_dir(char *dst, size_t size)
{
    char    exe[PATH_MAX - 32], *slash;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    int     up;

    if (n > 0) {
        exe[n] = '\0';

        for (up = 0; up < 2 && (slash = strrchr(exe, '/')) != NULL; up++) {
            *slash = '\0';
        }

        snprintf(dst, size, "%s/migrations", exe);

        if (access(dst, R_OK) == 0) {
            return;
        }
    }

    snprintf(dst, size, "%s/migrations", AVP_SHAREDIR);
}

/* -- talking to the database ----------------------------------------------- */

static int
refused(avp_db_t *db, const char *what)
{
    const char *state = avp_db_sqlstate(db);

    avp_command_error("%s: %s", what, avp_db_error(db));

    if (strcmp(state, "42501") == 0) {
        avp_command_error("the user of DATABASE_URL must own the database, or "
                          "be allowed to create in its schema public");
    } else if (strcmp(state, "55P03") == 0) {
        avp_command_error("something holds a lock on a table for long; see "
                          "pg_stat_activity and run this again");
    }

    return -1;
}

static int
check_server(avp_db_t *db)
{
    avp_db_result_t *r = avp_db_query(db,
        "SELECT current_setting('server_version_num')::int AS version,"
        " current_setting('server_encoding') AS encoding,"
        " current_setting('server_version') AS text", 0, NULL);
    int rc = -1;

    if (r == NULL) {
        return refused(db, "cannot ask the server for its version");
    }

    if (avp_db_int(r, 0, "version", 0) < 140000) {
        avp_command_error("the server is PostgreSQL %s; 14 or later is needed",
                          avp_db_text(r, 0, "text"));

    } else if (strcmp(avp_db_text(r, 0, "encoding"), "UTF8") != 0) {
        avp_command_error("the database's encoding is %s; create it with "
                          "ENCODING 'UTF8' TEMPLATE template0",
                          avp_db_text(r, 0, "encoding"));
    } else {
        rc = 0;
    }

    avp_db_result_free(r);

    return rc;
}

/* Also the check that the database is not newer than these files. */
static int
applied_versions(avp_db_t *db, const list_t *l, bool *done)
{
    avp_db_result_t *r = avp_db_query(db,
        "SELECT version, name, checksum FROM public.schema_migrations"
        " ORDER BY version", 0, NULL);
    size_t i;
    int    row, rc = -1;

    if (r == NULL) {
        return refused(db, "cannot read schema_migrations");
    }

    for (row = 0; row < avp_db_rows(r); row++) {
        for (i = 0; i < l->n; i++) {
            if (l->files[i].version == avp_db_int(r, row, "version", 0)) {
                break;
            }
        }

        if (i == l->n) {
            avp_command_error("the database is newer than this workerd (it has "
                              "%s); install the version that made it, or a "
                              "later one", avp_db_text(r, row, "name"));
            goto failed;
        }

        if (strcmp(l->files[i].checksum, avp_db_text(r, row, "checksum")) != 0) {
            avp_command_error("%s was changed after it was applied; put the "
                              "file back and write a new migration",
                              l->files[i].name);
            goto failed;
        }

        done[i] = true;
    }

    rc = 0;

failed:
    avp_db_result_free(r);

    return rc;
}

static int
record(avp_db_t *db, const file_t *f)
{
    char             version[16];
    avp_db_result_t *r;

    snprintf(version, sizeof(version), "%d", f->version);

    r = avp_db_query(db,
        "INSERT INTO public.schema_migrations (version, name, checksum)"
        " VALUES ($1::int, $2, $3)",
        3, (const char *[]){ version, f->name, f->checksum });

    if (r == NULL) {
        return -1;
    }

    avp_db_result_free(r);

    return 0;
}

/* Each statement by itself: up to a semicolon that ends a line. */
static int
run_statements(avp_db_t *db, const file_t *f)
{
    char *text = strdup(f->sql), *p = text, *end;
    int   rc = -1;

    if (text == NULL) {
        return -1;
    }

    while (*p != '\0') {
        end = strstr(p, ";\n");

        if (end == NULL) {
            end = p + strlen(p);
        } else {
            *end++ = '\0';
        }

        if (avp_db_script(db, p, 0)) {
            goto done;
        }

        p = *end ? end + 1 : end;
    }

    rc = record(db, f);

done:
    free(text);

    return rc;
}

static int
run_transaction(avp_db_t *db, const file_t *f)
{
    if (avp_db_script(db, "BEGIN", 0) == 0 && avp_db_script(db, f->sql, 0) == 0
        && record(db, f) == 0 && avp_db_script(db, "COMMIT", 0) == 0)
    {
        return 0;
    }

    return -1;
}

/* The failure stays noted while the transaction is ended. */
static bool
roll_back(avp_db_t *db, char state[6], char error[512])
{
    snprintf(state, 6, "%s", avp_db_sqlstate(db));
    snprintf(error, 512, "%s", avp_db_error(db));

    return !avp_db_down(db) && avp_db_script(db, "ROLLBACK", 0) == 0;
}

static int
apply(avp_db_t *db, const file_t *f)
{
    bool alone = strncmp(f->sql, NO_TRANSACTION, strlen(NO_TRANSACTION)) == 0;
    char state[6], error[512];
    int  tries;

    for (tries = 1;; tries++) {
        if ((alone ? run_statements : run_transaction)(db, f) == 0) {
            printf("applied %s\n", f->name);
            return 0;
        }

        if (!roll_back(db, state, error) || strcmp(state, "55P03") != 0
            || tries == LOCK_TRIES)
        {
            break;
        }

        printf("waiting for a lock (%s)\n", f->name);
        fflush(stdout);
        sleep((unsigned) tries);
    }

    avp_command_error("%s: %s", f->name, error);

    return -1;
}

/* -- functions ------------------------------------------------------------- */

/* Every name after CREATE OR REPLACE FUNCTION, comma separated. */
static char *
function_names(const list_t *l)
{
    static const char phrase[] = "CREATE OR REPLACE FUNCTION ";
    size_t            size = 1, i, n;
    const char       *p;
    char             *names, *d;

    for (i = 0; i < l->n; i++) {
        size += strlen(l->files[i].sql);
    }

    names = d = malloc(size);

    if (names == NULL) {
        return NULL;
    }

    for (i = 0; i < l->n; i++) {
        for (p = l->files[i].sql; (p = strstr(p, phrase)) != NULL; p += n) {
            p += sizeof(phrase) - 1;
            n = strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789");
            memcpy(d, p, n);
            d += n;
            *d++ = ',';
        }
    }

    *d = '\0';

    return names;
}

/* PostgreSQL cannot replace a function whose result has other columns.  Such
 * functions go first, in the transaction that brings them back; triggers keep
 * theirs. */
static int
drop_functions(avp_db_t *db, const list_t *l)
{
    char            *names = function_names(l);
    avp_db_result_t *r;
    int              rc;

    if (names == NULL) {
        return -1;
    }

    r = avp_db_query(db, "SELECT set_config('avp.functions', $1, true)", 1,
                     (const char *[]){ names });
    free(names);

    if (r == NULL) {
        return -1;
    }

    avp_db_result_free(r);

    rc = avp_db_script(db,
        "DO $$ DECLARE f regprocedure; BEGIN"
        " FOR f IN SELECT p.oid FROM pg_proc p"
        "  WHERE p.pronamespace = 'public'::regnamespace"
        "    AND p.prorettype <> 'trigger'::regtype"
        "    AND p.proname = ANY (string_to_array("
        "        current_setting('avp.functions'), ','))"
        " LOOP EXECUTE format('DROP FUNCTION %s', f); END LOOP;"
        " END $$", 0);

    return rc;
}

static int
try_functions(avp_db_t *db, const list_t *l, bool drop, const char **at)
{
    size_t i;

    *at = "functions";

    if (avp_db_script(db, "BEGIN; SET LOCAL check_function_bodies = off", 0)
        || (drop && drop_functions(db, l)))
    {
        return -1;
    }

    for (i = 0; i < l->n; i++) {
        *at = l->files[i].name;

        if (avp_db_script(db, l->files[i].sql, 0)) {
            return -1;
        }
    }

    *at = "functions";

    return avp_db_script(db, "COMMIT", 0);
}

static int
apply_functions(avp_db_t *db, const list_t *l)
{
    const char *at;
    char        state[6], error[512];

    if (try_functions(db, l, false, &at) == 0) {
        goto done;
    }

    /* 42P13: the result's columns have changed */
    if (roll_back(db, state, error) && strcmp(state, "42P13") == 0) {
        if (try_functions(db, l, true, &at) == 0) {
            goto done;
        }

        roll_back(db, state, error);
    }

    avp_command_error("functions/%s: %s", at, error);

    return -1;

done:
    printf("functions: %zu files\n", l->n);

    return 0;
}

/* -- all of it ------------------------------------------------------------- */

static int
migrate(avp_db_t *db, const list_t *tables, const list_t *functions)
{
    bool  *done = calloc(tables->n, sizeof(bool));
    size_t i, applied = 0;
    int    rc = -1;

    if (done == NULL) {
        avp_command_error("out of memory");
        return -1;
    }

    if (avp_db_connect(db)) {
        avp_command_error("%s; is PostgreSQL up, and DATABASE_URL right?",
                          avp_db_error(db));
        goto failed;
    }

    if (check_server(db)) {
        goto failed;
    }

    if (avp_db_script(db, "SET statement_timeout = 0;"
                          "SET client_min_messages = notice;" ADVISORY_LOCK, 0)
        || avp_db_script(db, "SET lock_timeout = '3s'", 0)
        || avp_db_script(db,
               "SET client_min_messages = warning;"
               "CREATE TABLE IF NOT EXISTS public.schema_migrations ("
               " version integer PRIMARY KEY, name text NOT NULL,"
               " checksum text NOT NULL, applied_at timestamptz NOT NULL"
               " DEFAULT CURRENT_TIMESTAMP);"
               "SET client_min_messages = notice", 0))
    {
        refused(db, "cannot begin");
        goto failed;
    }

    if (applied_versions(db, tables, done)) {
        goto failed;
    }

    for (i = 0; i < tables->n; i++) {
        if (!done[i]) {
            if (apply(db, &tables->files[i])) {
                goto failed;
            }
            applied++;
        }
    }

    if (applied == 0) {
        printf("tables: up to date (%s)\n", tables->files[tables->n - 1].name);
    }

    rc = apply_functions(db, functions);

failed:
    free(done);

    return rc;
}

int
avp_migrate_main(int argc, char **argv)
{
    avp_settings_t settings;
    avp_db_t      *db = NULL;
    list_t         tables = { 0 }, functions = { 0 };
    char           dir[PATH_MAX], sub[PATH_MAX + 16];
    int            i, rc = AVP_EXIT_FAILED;

    default_dir(dir, sizeof(dir));

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
            snprintf(dir, sizeof(dir), "%s", argv[++i]);
        } else {
            avp_command_error("usage: workerd migrate [--dir DIR]");
            return AVP_EXIT_USAGE;
        }
    }

    if (avp_command_settings(&settings)) {
        return AVP_EXIT_FAILED;
    }

    snprintf(sub, sizeof(sub), "%s/functions", dir);

    if (read_folder(&tables, dir, true) || read_folder(&functions, sub, false)) {
        goto done;
    }

    db = avp_db_new(settings.database_url, "avp migrate", 10000);

    if (db == NULL) {
        avp_command_error("out of memory");
        goto done;
    }

    rc = migrate(db, &tables, &functions) ? AVP_EXIT_FAILED : AVP_EXIT_OK;

done:
    avp_db_free(db);
    list_free(&tables);
    list_free(&functions);
    avp_settings_free(&settings);

    return rc;
}
