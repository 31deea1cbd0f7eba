/*
 * One connection to PostgreSQL for a thread of workerd: blocking calls with a
 * deadline each, functions called as prepared statements by name, typed
 * getters.  The connection is made at the first call and made again after it
 * was lost; nothing is ever sent twice by itself: a call that failed because
 * the connection went may or may not have been carried out, and the caller
 * knows which of its calls may be repeated (those under a fence: all).
 *
 * One avp_db_t belongs to one thread.  Name resolution may block longer than
 * the deadline; that is libpq's.
 */

#ifndef AVP_WORKERD_DB_H
#define AVP_WORKERD_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct avp_db        avp_db_t;
typedef struct avp_db_result avp_db_result_t;

#define AVP_DB_MAX_ARGS 16

/* `timeout_ms` bounds each connect and each call; `name` is what
 * pg_stat_activity shows.  Opens nothing.  NULL: out of memory. */
avp_db_t *avp_db_new(const char *url, const char *name, int timeout_ms);
void avp_db_free(avp_db_t *db);

/* Connects when there is no connection.  0 or -1. */
int avp_db_connect(avp_db_t *db);

/*
 * SELECT * FROM fn($1, ...), all arguments as text (NULL: SQL's null).
 * NULL on failure; avp_db_error() then has a sentence without secrets.
 * A result is freed by avp_db_result_free().
 */
avp_db_result_t *avp_db_call(avp_db_t *db, const char *fn, int nargs,
                             const char *const args[]);

/* The same with the arguments in place:
 *   avp_db_callv(db, "job_fail", incarnation, job, attempt) */
#define AVP_DB_ARGS(...)                                                       \
    ((const char *const[]){ NULL, ##__VA_ARGS__, NULL })
#define avp_db_callv(db, fn, ...)                                              \
    avp_db_call((db), (fn),                                                    \
                (int) (sizeof(AVP_DB_ARGS(__VA_ARGS__)) / sizeof(char *)) - 2, \
                AVP_DB_ARGS(__VA_ARGS__) + 1)

/* Statements as they are in migration files (no arguments, no rows wanted);
 * `timeout_ms` 0: no deadline.  0 or -1. */
int avp_db_script(avp_db_t *db, const char *sql, int timeout_ms);

/* A query of constant text with arguments; as avp_db_call() otherwise. */
avp_db_result_t *avp_db_query(avp_db_t *db, const char *sql, int nargs,
                              const char *const args[]);

/* About the last failure: whether the database could not be reached or was
 * lost (worth trying again), and the SQLSTATE ("" when there is none). */
bool avp_db_down(const avp_db_t *db);
const char *avp_db_sqlstate(const avp_db_t *db);
const char *avp_db_error(const avp_db_t *db);

void avp_db_result_free(avp_db_result_t *r);
int avp_db_rows(const avp_db_result_t *r);

/* The first column of the first row, "" when there is no row: the verdict. */
const char *avp_db_verdict(const avp_db_result_t *r);

/* By column name.  NULL (text) or `otherwise` for SQL's null, an absent row
 * or an absent column.  Text lives as long as the result. */
const char *avp_db_text(const avp_db_result_t *r, int row, const char *column);
int64_t avp_db_int(const avp_db_result_t *r, int row, const char *column,
                   int64_t otherwise);
double avp_db_num(const avp_db_result_t *r, int row, const char *column,
                  double otherwise);
bool avp_db_bool(const avp_db_result_t *r, int row, const char *column);

/* libpq's version as text: "15.8". */
const char *avp_db_client_version(void);

#endif
