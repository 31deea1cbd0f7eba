/*
 * workerd sample [FILE]: demo data.  Puts FILE, or a clip that `workerd clip`
 * makes, into the storage as the original of a video of the demo user, with a
 * job, the way an upload does it: written to incoming/, synced, renamed, the
 * folder synced, then one call of the database.  A running worker turns it
 * into something to play.
 */

#include "lib/sniff.h"
#include "lib/storage_key.h"
#include "lib/text.h"
#include "workerd/cmd_common.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEMO_EMAIL "demo@example.com"

typedef struct {
    const char *root;
    uid_t       uid;
    gid_t       gid;
    bool        chown; /* run as root for a storage that is somebody's */
    char        incoming[PATH_MAX];
    char        folder[PATH_MAX];
    char        key[AVP_KEY_MAX];
    off_t       size;
    avp_format_t format;
} sample_t;

static int
failed(const char *what, const char *path)
{
    avp_command_error("cannot %s %s: %s", what, path, strerror(errno));
    return -1;
}

/* Whoever runs this, the files are the storage owner's. */
static int
own(const sample_t *s, const char *path)
{
    if (s->chown && chown(path, s->uid, s->gid)) {
        return failed("give to the storage's owner", path);
    }

    return 0;
}

static int
make_folder(const sample_t *s, const char *path)
{
    if (mkdir(path, 0750) == 0) {
        return own(s, path);
    }

    return errno == EEXIST ? 0 : failed("make", path);
}

static int
sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0) {
        return failed("open", path);
    }

    rc = fsync(fd);
    close(fd);

    return rc ? failed("sync", path) : 0;
}

static int
write_all(int fd, const char *data, size_t n)
{
    ssize_t w;

    while (n > 0) {
        w = write(fd, data, n);

        if (w < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }

        data += w;
        n -= (size_t) w;
    }

    return 0;
}

/* Copies `from` to s->incoming and notes size and container. */
static int
copy_in(sample_t *s, const char *from)
{
    static char buf[256 * 1024];
    ssize_t     n;
    int         in, out, rc = -1;

    in = open(from, O_RDONLY | O_CLOEXEC);

    if (in < 0) {
        return failed("read", from);
    }

    out = open(s->incoming, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

    if (out < 0) {
        failed("write", s->incoming);
        goto done;
    }

    while ((n = read(in, buf, sizeof(buf))) != 0) {
        if (n < 0) {
            failed("read", from);
            goto done;
        }

        if (s->size == 0) {
            s->format = avp_sniff((const uint8_t *) buf, (size_t) n);
        }

        if (write_all(out, buf, (size_t) n)) {
            failed("write", s->incoming);
            goto done;
        }

        s->size += n;
    }

    if (s->size == 0 || s->format == AVP_FMT_UNKNOWN) {
        avp_command_error("%s is not a video", from);
        goto done;
    }

    rc = fsync(out) ? failed("sync", s->incoming) : own(s, s->incoming);

done:
    if (out >= 0) {
        close(out);
    }
    close(in);

    return rc;
}

/* Runs this program as `workerd clip OUT`. */
static int
make_clip(const char *path)
{
    pid_t pid = fork();
    int   status;

    if (pid < 0) {
        return failed("start", "workerd clip");
    }

    if (pid == 0) {
        execl("/proc/self/exe", "workerd", "clip", path, (char *) NULL);
        _exit(127);
    }

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return failed("wait for", "workerd clip");
        }
    }

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        avp_command_error("no clip could be made; name a file instead: "
                          "workerd sample FILE");
        return -1;
    }

    return 0;
}

static int
prepare(sample_t *s, const char *video)
{
    char        path[PATH_MAX];
    struct stat st;

    if (stat(s->root, &st)) {
        failed("find the storage", s->root);
        avp_command_error("STORAGE_DIR names it; it must be there already");
        return -1;
    }

    s->uid = st.st_uid;
    s->gid = st.st_gid;
    s->chown = geteuid() == 0 && (st.st_uid != 0 || st.st_gid != 0);

    snprintf(path, sizeof(path), "%s/incoming", s->root);
    snprintf(s->incoming, sizeof(s->incoming), "%s/incoming/%s", s->root, video);

    if (make_folder(s, path)) {
        return -1;
    }

    snprintf(path, sizeof(path), "%s/originals", s->root);
    snprintf(s->folder, sizeof(s->folder), "%s/originals/%s", s->root, video);

    return make_folder(s, path);
}

/* incoming/ -> originals/{video}/source.{ext}, durably. */
static int
settle(sample_t *s, const char *video)
{
    char path[PATH_MAX];

    if (avp_key_original(s->key, video, s->format)
        || make_folder(s, s->folder))
    {
        return -1;
    }

    snprintf(path, sizeof(path), "%s/%s", s->root, s->key);

    if (rename(s->incoming, path)) {
        return failed("rename to", path);
    }

    if (sync_folder(s->folder)) {
        return -1;
    }

    snprintf(path, sizeof(path), "%s/originals", s->root);

    return sync_folder(path);
}

static int
create(avp_db_t *db, const sample_t *s, const char *user, const char *video,
       const char *file)
{
    char             name[256], size[32];
    const char      *title = file ? name : "Sample clip";
    avp_db_result_t *r;
    int              rc = -1;

    avp_display_name(name, avp_str_c(file ? file : "sample.mp4"));
    snprintf(size, sizeof(size), "%lld", (long long) s->size);

    r = avp_db_callv(db, "video_create", user, "f", NULL, "workerd sample",
                     video, title, NULL, NULL, name, size, "file", s->key,
                     avp_format_name(s->format), "0");

    if (r == NULL) {
        avp_command_db_error(db);
        return -1;
    }

    if (strcmp(avp_db_verdict(r), "ok") == 0) {
        printf("video %s\njob   %s\n", video, avp_db_text(r, 0, "job"));
        rc = 0;
    } else {
        avp_command_error("the database refused the video: %s",
                          avp_db_verdict(r));
    }

    avp_db_result_free(r);

    return rc;
}

static int
put_sample(avp_db_t *db, const char *root, const char *email, const char *file)
{
    sample_t s = { .root = root };
    char     user[AVP_UUID_LEN + 1], video[AVP_UUID_LEN + 1];
    char     clip[PATH_MAX + 8], path[PATH_MAX + AVP_KEY_MAX];
    bool     is_admin;
    int      rc = -1;

    if (avp_uuid_v4(video)
        || avp_command_user(db, email, true, false, user, &is_admin)
        || prepare(&s, video))
    {
        return -1;
    }

    snprintf(clip, sizeof(clip), "%s.mp4", s.incoming);

    if ((file == NULL && make_clip(clip)) || copy_in(&s, file ? file : clip)
        || settle(&s, video))
    {
        goto done;
    }

    rc = create(db, &s, user, video, file);

    if (rc && !avp_db_down(db)) {
        /* refused for certain: nothing names the file */
        snprintf(path, sizeof(path), "%s/%s", s.root, s.key);
        unlink(path);
        rmdir(s.folder);
    }

done:
    unlink(s.incoming);

    if (file == NULL) {
        unlink(clip);
    }

    return rc;
}

int
avp_sample_main(int argc, char **argv)
{
    avp_settings_t s;
    avp_db_t      *db;
    const char    *email = DEMO_EMAIL, *file = NULL;
    int            i, rc;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--user") == 0 && i + 1 < argc) {
            email = argv[++i];
        } else if (argv[i][0] != '-' && file == NULL) {
            file = argv[i];
        } else {
            avp_command_error("usage: workerd sample [FILE] [--user EMAIL]");
            return AVP_EXIT_USAGE;
        }
    }

    if (avp_command_open(&s, &db)) {
        return AVP_EXIT_FAILED;
    }

    umask(027);
    rc = put_sample(db, s.storage_dir, email, file) ? AVP_EXIT_FAILED
                                                    : AVP_EXIT_OK;
    avp_db_free(db);
    avp_settings_free(&s);

    return rc;
}
