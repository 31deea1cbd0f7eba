/* See db.h. */

#include "workerd/db.h"

#include <libpq-fe.h>

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "workerd/log.h"

#define MAX_PREPARED 64
#define FN_MAX 48

struct avp_db {
    PGconn *conn;
    char   *url;
    char   *name;
    int     timeout_ms;
    bool    down;
    int     nprepared;
    char    prepared[MAX_PREPARED][FN_MAX]; /* on this connection */
    char    sqlstate[6];
    char    error[512];
};

struct avp_db_result {
    PGresult *pg;
};

static int64_t
now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* One line of what libpq says, without its trailing line feeds. */
static void
set_error(avp_db_t *db, const char *what, const char *why)
{
    size_t n;

    snprintf(db->error, sizeof(db->error), "%s: %s", what, why);

    for (n = 0; db->error[n] != '\0'; n++) {
        if ((unsigned char) db->error[n] < ' ') {
            db->error[n] = ' ';
        }
    }

    while (n > 0 && db->error[n - 1] == ' ') {
        db->error[--n] = '\0';
    }
}

static void
disconnect(avp_db_t *db)
{
    if (db->conn) {
        PQfinish(db->conn);
        db->conn = NULL;
    }

    db->nprepared = 0;
}

static void
lost(avp_db_t *db, const char *what, const char *why)
{
    set_error(db, what, why);
    db->down = true;
    disconnect(db);
}

/* Waits for the socket.  0, or -1 when the deadline (0: none) has passed. */
static int
wait_socket(avp_db_t *db, short events, int64_t deadline)
{
    struct pollfd p = { .fd = PQsocket(db->conn), .events = events };
    int64_t       left;
    int           n;

    for (;;) {
        left = deadline ? deadline - now_ms() : -1;

        if (deadline && left <= 0) {
            return -1;
        }

        n = poll(&p, 1, left > 60000 ? 60000 : (int) left);

        if (n > 0) {
            return 0;
        }

        if (n < 0 && errno != EINTR) {
            return -1;
        }
    }
}

/* Sends what is buffered and reads all results of the query under way: the
 * first failed one, else the last.  NULL when the connection was lost. */
static PGresult *
finish(avp_db_t *db, const char *what, int64_t deadline)
{
    PGresult *res, *kept = NULL;
    int       unsent;

    for (;;) {
        unsent = PQflush(db->conn);

        if (unsent < 0) {
            goto broken;
        }

        if (!unsent && !PQisBusy(db->conn)) {
            res = PQgetResult(db->conn);

            if (res == NULL) {
                break;
            }

            if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
                PQclear(res);
                continue;
            }

            PQclear(kept);
            kept = res;
            continue;
        }

        if (wait_socket(db, (short) (POLLIN | (unsent ? POLLOUT : 0)),
                        deadline))
        {
            PQclear(kept);
            lost(db, what, "the database did not answer in time");
            return NULL;
        }

        if (!PQconsumeInput(db->conn)) {
            goto broken;
        }
    }

    if (kept && PQstatus(db->conn) == CONNECTION_OK) {
        return kept;
    }

broken:
    PQclear(kept);
    lost(db, what, PQerrorMessage(db->conn));

    return NULL;
}

/* Whether the statement was carried out; otherwise notes why not. */
static bool
succeeded(avp_db_t *db, const char *what, const PGresult *res)
{
    ExecStatusType st = PQresultStatus(res);
    const char    *state;

    if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK
        || st == PGRES_EMPTY_QUERY)
    {
        return true;
    }

    state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    snprintf(db->sqlstate, sizeof(db->sqlstate), "%s", state ? state : "");
    set_error(db, what, PQresultErrorMessage(res));

    /* too many connections, out of disk or memory, shutting down: later */
    db->down = strncmp(db->sqlstate, "08", 2) == 0
               || strncmp(db->sqlstate, "53", 2) == 0
               || strncmp(db->sqlstate, "57P", 3) == 0
               || strcmp(db->sqlstate, "57014") == 0;

    return false;
}

static void
notice(void *arg, const char *message)
{
    size_t n = strlen(message);

    (void) arg;

    while (n > 0 && isspace((unsigned char) message[n - 1])) {
        n--;
    }

    avp_log(AVP_LOG_INFO, "notice from the database",
            AVP_SN("notice", message, n));
}

avp_db_t *
avp_db_new(const char *url, const char *name, int timeout_ms)
{
    avp_db_t *db = calloc(1, sizeof(*db));

    if (db == NULL) {
        return NULL;
    }

    db->timeout_ms = timeout_ms;
    db->url = strdup(url);
    db->name = strdup(name);

    if (db->url == NULL || db->name == NULL) {
        avp_db_free(db);
        return NULL;
    }

    return db;
}

void
avp_db_free(avp_db_t *db)
{
    if (db) {
        disconnect(db);
        free(db->url);
        free(db->name);
        free(db);
    }
}

static int
connect_wait(avp_db_t *db, int64_t deadline)
{
    PostgresPollingStatusType st = PGRES_POLLING_WRITING;

    while (st != PGRES_POLLING_OK) {
        if (st == PGRES_POLLING_FAILED) {
            lost(db, "cannot connect to the database",
                 PQerrorMessage(db->conn));
            return -1;
        }

        if (wait_socket(db, st == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                        deadline))
        {
            lost(db, "cannot connect to the database", "no answer in time");
            return -1;
        }

        st = PQconnectPoll(db->conn);
    }

    return 0;
}

int
avp_db_connect(avp_db_t *db)
{
    const char *keys[] = { "dbname", "fallback_application_name",
                           "client_encoding", NULL };
    const char *values[] = { db->url, db->name, "UTF8", NULL };
    char        set[128];

    if (db->conn && PQstatus(db->conn) == CONNECTION_OK) {
        return 0;
    }

    disconnect(db);
    db->sqlstate[0] = '\0';
    db->conn = PQconnectStartParams(keys, values, 1);

    if (db->conn == NULL || PQstatus(db->conn) == CONNECTION_BAD) {
        lost(db, "cannot connect to the database",
             db->conn ? PQerrorMessage(db->conn) : "out of memory");
        return -1;
    }

    if (connect_wait(db, now_ms() + db->timeout_ms)) {
        return -1;
    }

    PQsetNoticeProcessor(db->conn, notice, NULL);
    PQsetnonblocking(db->conn, 1);

    /* what was given up here must not run on there */
    snprintf(set, sizeof(set),
             "SET statement_timeout = %d; "
             "SET idle_in_transaction_session_timeout = 60000",
             db->timeout_ms);

    if (avp_db_script(db, set, db->timeout_ms)) {
        disconnect(db);
        return -1;
    }

    db->down = false;

    return 0;
}

int
avp_db_script(avp_db_t *db, const char *sql, int timeout_ms)
{
    PGresult *res;
    bool      ok;

    if (db->conn == NULL && avp_db_connect(db)) {
        return -1;
    }

    db->sqlstate[0] = '\0';

    if (!PQsendQuery(db->conn, sql)) {
        lost(db, "the database was lost", PQerrorMessage(db->conn));
        return -1;
    }

    res = finish(db, "script", timeout_ms ? now_ms() + timeout_ms : 0);

    if (res == NULL) {
        return -1;
    }

    ok = succeeded(db, "the database refused", res);
    PQclear(res);

    return ok ? 0 : -1;
}

static avp_db_result_t *
wrap(PGresult *res)
{
    avp_db_result_t *r = malloc(sizeof(*r));

    if (r == NULL) {
        PQclear(res);
        return NULL;
    }

    r->pg = res;

    return r;
}

avp_db_result_t *
avp_db_query(avp_db_t *db, const char *sql, int nargs, const char *const args[])
{
    PGresult *res;

    if (avp_db_connect(db)) {
        return NULL;
    }

    db->sqlstate[0] = '\0';

    if (!PQsendQueryParams(db->conn, sql, nargs, NULL, args, NULL, NULL, 0)) {
        lost(db, "the database was lost", PQerrorMessage(db->conn));
        return NULL;
    }

    res = finish(db, "query", now_ms() + db->timeout_ms);

    if (res == NULL) {
        return NULL;
    }

    if (!succeeded(db, "the database refused", res)) {
        PQclear(res);
        return NULL;
    }

    return wrap(res);
}

static bool
is_prepared(const avp_db_t *db, const char *fn)
{
    int i;

    for (i = 0; i < db->nprepared; i++) {
        if (strcmp(db->prepared[i], fn) == 0) {
            return true;
        }
    }

    return false;
}

/* SELECT * FROM fn($1, ..., $n): the only shape there is. */
static int
prepare(avp_db_t *db, const char *fn, int nargs, int64_t deadline)
{
    PGresult *res;
    char      sql[FN_MAX + AVP_DB_MAX_ARGS * 5 + 24];
    bool      ok;
    int       i;
    size_t    n;

    if (is_prepared(db, fn)) {
        return 0;
    }

    if (nargs > AVP_DB_MAX_ARGS || strlen(fn) >= FN_MAX
        || fn[strspn(fn, "abcdefghijklmnopqrstuvwxyz_")] != '\0'
        || db->nprepared == MAX_PREPARED)
    {
        set_error(db, fn, "not a function this program may call");
        return -1;
    }

    n = (size_t) snprintf(sql, sizeof(sql), "SELECT * FROM %s(", fn);

    for (i = 1; i <= nargs; i++) {
        n += (size_t) snprintf(sql + n, sizeof(sql) - n, i > 1 ? ", $%d" : "$%d",
                               i);
    }

    snprintf(sql + n, sizeof(sql) - n, ")");

    if (!PQsendPrepare(db->conn, fn, sql, 0, NULL)) {
        lost(db, fn, PQerrorMessage(db->conn));
        return -1;
    }

    res = finish(db, fn, deadline);

    if (res == NULL) {
        return -1;
    }

    ok = succeeded(db, fn, res);
    PQclear(res);

    if (!ok) {
        if (strcmp(db->sqlstate, "42883") == 0) {
            set_error(db, fn, "the database does not have this function; "
                              "run `workerd migrate`");
        }
        return -1;
    }

    snprintf(db->prepared[db->nprepared++], FN_MAX, "%s", fn);

    return 0;
}

/* A migration has replaced what was prepared; the statement did nothing. */
static bool
wants_new_prepare(const avp_db_t *db)
{
    return strcmp(db->sqlstate, "0A000") == 0
           || strcmp(db->sqlstate, "26000") == 0
           || strcmp(db->sqlstate, "42883") == 0;
}

avp_db_result_t *
avp_db_call(avp_db_t *db, const char *fn, int nargs, const char *const args[])
{
    PGresult *res;
    int64_t   deadline;
    int       tries;

    if (avp_db_connect(db)) {
        return NULL;
    }

    deadline = now_ms() + db->timeout_ms;

    for (tries = 0;; tries++) {
        db->sqlstate[0] = '\0';
        db->down = false;

        if (prepare(db, fn, nargs, deadline)) {
            return NULL;
        }

        if (!PQsendQueryPrepared(db->conn, fn, nargs, args, NULL, NULL, 0)) {
            lost(db, fn, PQerrorMessage(db->conn));
            return NULL;
        }

        res = finish(db, fn, deadline);

        if (res == NULL) {
            return NULL;
        }

        if (succeeded(db, fn, res)) {
            return wrap(res);
        }

        PQclear(res);

        if (tries > 0 || !wants_new_prepare(db)
            || avp_db_script(db, "DEALLOCATE ALL", db->timeout_ms))
        {
            return NULL;
        }

        db->nprepared = 0;
    }
}

bool
avp_db_down(const avp_db_t *db)
{
    return db->down;
}

const char *
avp_db_sqlstate(const avp_db_t *db)
{
    return db->sqlstate;
}

const char *
avp_db_error(const avp_db_t *db)
{
    return db->error;
}

void
avp_db_result_free(avp_db_result_t *r)
{
    if (r) {
        PQclear(r->pg);
        free(r);
    }
}

int
avp_db_rows(const avp_db_result_t *r)
{
    return PQntuples(r->pg);
}

const char *
avp_db_verdict(const avp_db_result_t *r)
{
    if (PQntuples(r->pg) == 0 || PQnfields(r->pg) == 0) {
        return "";
    }

    return PQgetvalue(r->pg, 0, 0);
}

const char *
avp_db_text(const avp_db_result_t *r, int row, const char *column)
{
    /* PQfnumber folds case and reads quotes; names here are plain */
    int c = PQfnumber(r->pg, column);

    if (c < 0 || row < 0 || row >= PQntuples(r->pg)
        || PQgetisnull(r->pg, row, c))
    {
        return NULL;
    }

    return PQgetvalue(r->pg, row, c);
}

int64_t
avp_db_int(const avp_db_result_t *r, int row, const char *column,
           int64_t otherwise)
{
    const char *s = avp_db_text(r, row, column);

    return s ? strtoll(s, NULL, 10) : otherwise;
}

double
avp_db_num(const avp_db_result_t *r, int row, const char *column,
           double otherwise)
{
    const char *s = avp_db_text(r, row, column);

    return s ? strtod(s, NULL) : otherwise;
}

bool
avp_db_bool(const avp_db_result_t *r, int row, const char *column)
{
    const char *s = avp_db_text(r, row, column);

    return s && s[0] == 't';
}

const char *
avp_db_client_version(void)
{
    static char text[16];
    int         v = PQlibVersion();

    snprintf(text, sizeof(text), "%d.%d", v / 10000, v % 10000);

    return text;
}
