/*
 * GET /health and GET /metrics on 127.0.0.1:HEALTH_PORT, by libmicrohttpd on
 * a thread of its own with a database connection of its own: neither can hold
 * up the loop.  The queue's figures are asked for at most every 5 s.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/log.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MS 5000
#define PAGE_MAX 16384

struct avp_http_s {
    struct MHD_Daemon *daemon;
    avp_worker_t      *w;
    avp_db_t          *db;
    int64_t            asked;  /* when the figures below were had; 0 never */
    bool               database;
    int64_t            due, running, failed;
    double             oldest;
};

static void
refresh(avp_http_t *h)
{
    avp_db_result_t *r;
    int64_t          now = avp_clock();

    if (h->asked != 0 && now - h->asked < CACHE_MS) {
        return;
    }
    h->asked = now;
    r = avp_db_call(h->db, "queue_due", 0, NULL);
    h->database = r != NULL && strcmp(avp_db_verdict(r), "ok") == 0;
    if (h->database) {
        h->due = avp_db_int(r, 0, "due", 0);
        h->running = avp_db_int(r, 0, "running", 0);
        h->failed = avp_db_int(r, 0, "failed", 0);
        h->oldest = avp_db_num(r, 0, "oldest", 0);
    }
    avp_db_result_free(r);
}

static char *
health(avp_http_t *h, unsigned *status)
{
    avp_metrics_t *m = &h->w->metrics;
    bool           redis = atomic_load(&m->redis_up);
    bool           storage = avp_store_healthy(h->w->store);
    json_t        *o;
    char          *text;

    refresh(h);
    *status = h->database && storage ? MHD_HTTP_OK
                                     : MHD_HTTP_SERVICE_UNAVAILABLE;
    o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:b,s:s,s:{s:s,s:i,s:b}}", "status",
                  !h->database || !storage ? "unhealthy"
                  : !redis                 ? "degraded"
                                           : "healthy",
                  "database", h->database ? "ok" : "down", "redis",
                  redis ? "ok" : "down", "storage", storage ? "ok" : "down",
                  "slots", atomic_load(&m->slots), "running",
                  atomic_load(&m->running), "draining",
                  atomic_load(&m->draining) ? 1 : 0, "version", AVP_VERSION,
                  "sandbox", "ns", h->w->cage.ns, "landlock",
                  h->w->cage.landlock, "seccomp", h->w->cage.seccomp ? 1 : 0);
    text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

/* Prometheus text: one HELP-less TYPE line per metric, its samples together
 * (metrics.h lists them so). */
static void
put_counters(FILE *f, avp_metrics_t *m)
{
    const char *last = "";

#define PUT(member, metric, labels)                                            \
    if (strcmp(last, metric) != 0) {                                           \
        fprintf(f, "# TYPE %s counter\n", metric);                             \
        last = metric;                                                         \
    }                                                                          \
    fprintf(f, labels[0] ? "%s{%s} %lld\n" : "%s%s %lld\n", metric, labels,    \
            (long long) atomic_load(&m->member));
    AVP_COUNTER_LIST(PUT)
#undef PUT
}

static char *
metrics(avp_http_t *h)
{
    avp_metrics_t *m = &h->w->metrics;
    char          *text = NULL;
    size_t         size;
    FILE          *f = open_memstream(&text, &size);

    if (f == NULL) {
        return NULL;
    }
    refresh(h);
    fprintf(f,
            "# TYPE avp_build_info gauge\n"
            "avp_build_info{version=\"%s\",component=\"workerd\"} 1\n"
            "# TYPE avp_jobs_running gauge\navp_jobs_running %d\n"
            "# TYPE avp_worker_slots gauge\navp_worker_slots %d\n"
            "# TYPE avp_worker_draining gauge\navp_worker_draining %d\n"
            "# TYPE avp_up gauge\navp_up{service=\"database\"} %d\n"
            "avp_up{service=\"redis\"} %d\n"
            "# TYPE avp_sandbox_level gauge\n"
            "avp_sandbox_level{ns=\"%s\",landlock_abi=\"%d\","
            "seccomp=\"%d\"} 1\n",
            AVP_VERSION, atomic_load(&m->running), atomic_load(&m->slots),
            atomic_load(&m->draining) ? 1 : 0, h->database ? 1 : 0,
            atomic_load(&m->redis_up) ? 1 : 0, h->w->cage.ns,
            h->w->cage.landlock, h->w->cage.seccomp ? 1 : 0);
    if (h->database) { /* unknown is not zero */
        fprintf(f,
                "# TYPE avp_queue_depth gauge\navp_queue_depth %lld\n"
                "# TYPE avp_queue_running gauge\navp_queue_running %lld\n"
                "# TYPE avp_queue_failed gauge\navp_queue_failed %lld\n"
                "# TYPE avp_queue_oldest_seconds gauge\n"
                "avp_queue_oldest_seconds %.3f\n",
                (long long) h->due, (long long) h->running,
                (long long) h->failed, h->oldest);
    }
    put_counters(f, m);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static enum MHD_Result
answer(void *ctx, struct MHD_Connection *c, const char *url,
       const char *method, const char *version, const char *upload,
       size_t *upload_size, void **con)
{
    avp_http_t          *h = ctx;
    struct MHD_Response *r;
    enum MHD_Result      rc;
    const char          *type = "application/json";
    unsigned             status = MHD_HTTP_OK;
    char                *text = NULL;

    (void) version;
    (void) upload;
    (void) con;
    *upload_size = 0;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
    } else if (strcmp(url, "/health") == 0) {
        text = health(h, &status);
    } else if (strcmp(url, "/metrics") == 0) {
        type = "text/plain; version=0.0.4";
        text = metrics(h);
    } else {
        status = MHD_HTTP_NOT_FOUND;
    }
    if (text == NULL) {
        text = calloc(1, 1);
        if (text == NULL) {
            return MHD_NO;
        }
    }

    r = MHD_create_response_from_buffer(strlen(text), text,
                                        MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    (void) MHD_add_response_header(r, "Content-Type", type);
    (void) MHD_add_response_header(r, "Cache-Control", "no-store");
    rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

avp_http_t *
avp_http_start(avp_worker_t *w)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t) w->set.health_port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    avp_http_t        *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->w = w;
    h->db = avp_db_new(w->set.database_url, "workerd health", 2000);
    if (h->db != NULL) {
        h->daemon = MHD_start_daemon(
            MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
            (uint16_t) w->set.health_port, NULL, NULL, answer, h,
            MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &at,
            MHD_OPTION_CONNECTION_LIMIT, 32u, MHD_OPTION_CONNECTION_TIMEOUT,
            10u, MHD_OPTION_END);
    }
    if (h->daemon == NULL) {
        avp_log(AVP_LOG_ERROR, "HEALTH_PORT cannot be listened on",
                AVP_I("port", w->set.health_port));
        avp_db_free(h->db);
        free(h);
        return NULL;
    }
    return h;
}

void
avp_http_stop(avp_http_t *h)
{
    if (h != NULL) {
        MHD_stop_daemon(h->daemon);
        avp_db_free(h->db);
        free(h);
    }
}
