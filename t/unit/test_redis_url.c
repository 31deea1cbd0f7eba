/* The addresses that workerd/supervisor/redis.c takes. */

#include "t/unit/unit.h"

#include "workerd/log.h"
#include "workerd/supervisor/redis.h"

START_TEST(taken)
{
    static const char *const urls[] = {
        "redis://localhost",
        "redis://localhost:6379",
        "redis://127.0.0.1:6380/3",
        "redis://:secret@redis",
        "redis://user:p%40ss%3aword@redis:6379/0",
        "redis://[::1]:6379",
        "redis://[::1]",
        "unix:///run/redis/redis.sock",
    };
    const char *why;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        avp_redis_t *r = avp_redis_new(urls[i], &why);

        ck_assert_msg(r != NULL, "%s: %s", urls[i], why);
        ck_assert(!avp_redis_up(r));
        ck_assert_int_eq(avp_redis_wait_fd(r), -1);
        avp_redis_free(r);
    }
}
END_TEST

START_TEST(refused)
{
    static const char *const urls[] = {
        "",
        "localhost",
        "http://localhost",
        "rediss://localhost",
        "redis://",
        "redis://secret@host",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:x",
        "redis://host/x",
        "redis://host/-1",
        "unix://run/redis.sock",
    };
    const char *why;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        ck_assert_msg(avp_redis_new(urls[i], &why) == NULL, "%s", urls[i]);
        ck_assert_ptr_nonnull(why);
    }
}
END_TEST

/* Nobody listens: every call says so, soon, and nothing else happens. */
START_TEST(absent)
{
    const char  *why;
    avp_redis_t *r = avp_redis_new("unix:///nonexistent/redis.sock", &why);

    avp_log_set_level(AVP_LOG_ERROR);
    ck_assert_int_eq(avp_redis_push(r, "x", 1), -1);
    ck_assert_int_eq(avp_redis_drain(r), -1);
    ck_assert_int_eq(avp_redis_length(r), -1);
    ck_assert_int_eq(avp_redis_wait(r, 1), -1);
    avp_redis_event(r, "{}");
    avp_redis_wait_cancel(r);
    ck_assert(!avp_redis_up(r));
    avp_redis_free(r);
}
END_TEST

UNIT_SUITE(redis_url, taken, refused, absent)
