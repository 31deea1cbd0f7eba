/* workerd/supervisor/store_file.c on a private folder. */

#include "t/unit/unit.h"

#include "workerd/supervisor/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIDEO "0190d9a8-1111-4222-8333-444455556666"
#define PREFIX "1-0123456789abcdef"

static char         root[] = "/tmp/avp-unit-store-XXXXXX";
static avp_store_t *store;

static const char *
path_of(const char *fmt, ...)
{
    static char path[512];
    va_list     ap;
    int         n = snprintf(path, sizeof(path), "%s/", root);

    va_start(ap, fmt);
    (void) vsnprintf(path + n, sizeof(path) - (size_t) n, fmt, ap);
    va_end(ap);
    return path;
}

static void
put(const char *path, size_t size)
{
    FILE *f = fopen(path_of("%s", path), "w");

    ck_assert_ptr_nonnull(f);
    while (size-- > 0) {
        fputc('x', f);
    }
    fclose(f);
}

static void
folder(const char *path)
{
    ck_assert_int_eq(mkdir(path_of("%s", path), 0750), 0);
}

static void
open_store(void)
{
    strcpy(root, "/tmp/avp-unit-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    store = avp_store_open(root);
    ck_assert_ptr_nonnull(store);
}

static void
close_store(void)
{
    char command[100];

    avp_store_free(store);
    (void) snprintf(command, sizeof(command), "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}

static int
exists(const char *path)
{
    struct stat st;

    return lstat(path_of("%s", path), &st) == 0;
}

START_TEST(opened)
{
    ck_assert_ptr_null(avp_store_open("/nonexistent/avp"));
    ck_assert_int_eq(errno, ENOENT);

    open_store();
    ck_assert(avp_store_healthy(store));
    ck_assert(exists("incoming") && exists("originals") && exists("outputs")
              && exists("trash"));
    close_store();
}
END_TEST

START_TEST(sources)
{
    static const char *const never[] = {
        "outputs/x",
        "originals/../secret",
        "originals//" VIDEO "/source.mp4",
        "originals/" VIDEO,
        "originals/" VIDEO "/",
        "originals/" VIDEO "/missing.mp4",
        "originals/" VIDEO "/link.mp4",
        "originals/link/source.mp4",
        "originals/" VIDEO "/fifo.mp4",
        "/etc/passwd",
        "",
    };
    int fd;

    open_store();
    folder("originals/" VIDEO);
    put("originals/" VIDEO "/source.mp4", 10);
    put("secret", 10);
    ck_assert_int_eq(symlink(root, path_of("originals/link")), 0);
    ck_assert_int_eq(
        symlink("../../secret", path_of("originals/" VIDEO "/link.mp4")), 0);
    ck_assert_int_eq(mkfifo(path_of("originals/" VIDEO "/fifo.mp4"), 0600), 0);

    fd = avp_store_source(store, "originals/" VIDEO "/source.mp4");
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
    close(fd);

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        ck_assert_msg(avp_store_source(store, never[i]) == -1, "opened: %s",
                      never[i]);
    }
    close_store();
}
END_TEST

START_TEST(prefixes)
{
    int fd;

    open_store();
    fd = avp_store_prefix(store, VIDEO, PREFIX);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(exists("outputs/" VIDEO "/" PREFIX));
    ck_assert_int_eq(avp_store_sync(store, VIDEO), 0);

    /* once only; well-formed only; through no link */
    ck_assert_int_eq(avp_store_prefix(store, VIDEO, PREFIX), -1);
    ck_assert_int_eq(errno, EEXIST);
    ck_assert_int_eq(avp_store_prefix(store, VIDEO, "../x"), -1);
    ck_assert_int_eq(avp_store_prefix(store, "../../etc", PREFIX), -1);
    ck_assert_int_eq(rmdir(path_of("outputs/" VIDEO "/" PREFIX)), 0);
    ck_assert_int_eq(rmdir(path_of("outputs/" VIDEO)), 0);
    ck_assert_int_eq(symlink("/tmp", path_of("outputs/" VIDEO)), 0);
    ck_assert_int_eq(avp_store_prefix(store, VIDEO, "2-0123456789abcdef"), -1);
    close_store();
}
END_TEST

#define DOC(mp4_size, hls_size)                                                \
    "{\"poster\":\"poster.jpg\",\"master\":null,\"results\":["                 \
    "{\"format\":\"mp4\",\"quality\":\"480p\",\"path\":\"mp4/480p.mp4\","      \
    "\"size\":" mp4_size "},{\"format\":\"hls\",\"quality\":\"480p\","         \
    "\"path\":\"hls/480p.m3u8\",\"size\":" hls_size "}]}"

#define EXTRA_DOC(member, path) "{\"" member "\":\"" path "\"}"
#define THUMBNAIL_DOC "{\"thumbnails\":[{\"path\":\"t.jpg\",\"webp\":\"t.webp\"}]}"

START_TEST(verified)
{
    const char *why;
    int         fd;

    open_store();
    fd = avp_store_prefix(store, VIDEO, PREFIX);
#define AT "outputs/" VIDEO "/" PREFIX
    put(AT "/poster.jpg", 5);
    folder(AT "/mp4");
    put(AT "/mp4/480p.mp4", 100);
    folder(AT "/hls");
    put(AT "/hls/480p.m3u8", 7);
    folder(AT "/hls/480p");
    put(AT "/hls/480p/init.mp4", 9);
    put(AT "/hls/480p/s00000.m4s", 20);
    put(AT "/hls/480p/s00001.m4s", 30);
    put(AT "/hls/480p/live.m3u8", 3);

    ck_assert_int_eq(avp_store_verify(fd, DOC("100", "50"), &why), 0);
    ck_assert_int_eq(avp_store_verify(fd, DOC("101", "50"), &why), -1);
    ck_assert_int_eq(avp_store_verify(fd, DOC("100", "59"), &why), -1);

    put(AT "/poster.jpg", 0);
    ck_assert_int_eq(avp_store_verify(fd, DOC("100", "50"), &why), -1);
    put(AT "/poster.jpg", 5);

    /* what is told beside the results has to be there too */
    ck_assert_int_eq(avp_store_verify(fd, EXTRA_DOC("dash", "d.mpd"), &why),
                     -1);
    put(AT "/d.mpd", 5);
    ck_assert_int_eq(avp_store_verify(fd, EXTRA_DOC("dash", "d.mpd"), &why), 0);
    ck_assert_int_eq(avp_store_verify(fd, EXTRA_DOC("preview", "p.webp"), &why),
                     -1);
    ck_assert_int_eq(avp_store_verify(fd, THUMBNAIL_DOC, &why), -1);
    put(AT "/t.jpg", 5);
    ck_assert_int_eq(avp_store_verify(fd, THUMBNAIL_DOC, &why), -1);
    put(AT "/t.webp", 5);
    ck_assert_int_eq(avp_store_verify(fd, THUMBNAIL_DOC, &why), 0);

    /* a link is no result, whatever it points to */
    put(AT "/mp4/real.mp4", 100);
    ck_assert_int_eq(unlink(path_of(AT "/mp4/480p.mp4")), 0);
    ck_assert_int_eq(symlink("real.mp4", path_of(AT "/mp4/480p.mp4")), 0);
    ck_assert_int_eq(avp_store_verify(fd, DOC("100", "50"), &why), -1);
    close(fd);
    close_store();
}
END_TEST

static int
count(void *ctx, const char *name)
{
    (void) name;
    ++*(int *) ctx;
    return 0;
}

START_TEST(removed)
{
    char    name[AVP_TRASH_NAME], path[200];
    int64_t bytes = 0;
    int     n = 0, fd;
    time_t  newest;

    open_store();
    fd = avp_store_prefix(store, VIDEO, PREFIX);
    close(fd);
    put(AT "/poster.jpg", 5000);
    folder(AT "/hls");
    put("outside", 10);
    ck_assert_int_eq(symlink("../../../../outside", path_of(AT "/hls/link")),
                     0);
    ck_assert_int_eq(avp_store_newest(store, AT, &newest), 0);
    ck_assert(newest + 100 > time(NULL));

    ck_assert_int_eq(avp_store_discard(store, AT, VIDEO, name), 0);
    ck_assert(!exists(AT));
    ck_assert_int_eq(strncmp(name, VIDEO "-", 37), 0);
    (void) snprintf(path, sizeof(path), "trash/%s", name);
    ck_assert(exists(path));
    ck_assert_int_eq(avp_store_list(store, "trash", count, &n), 0);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(avp_store_newest(store, path, &newest), 0);

    ck_assert_int_eq(avp_store_remove(store, "trash", "../outside", NULL), -1);
    ck_assert_int_eq(avp_store_remove(store, "trash", "..", NULL), -1);
    ck_assert_int_eq(avp_store_remove(store, "trash", name, &bytes), 0);
    ck_assert(!exists(path));
    ck_assert_int_ge(bytes, 4096);
    ck_assert(exists("outside")); /* the link went, not what it named */

    ck_assert_int_eq(avp_store_discard(store, AT, VIDEO, name), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(avp_store_list(store, "nothing", count, &n), 0);
    close_store();
}
END_TEST

UNIT_SUITE(store_file, opened, sources, prefixes, verified, removed)
