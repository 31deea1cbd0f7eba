/* KEY=VALUE files, and the settings made of them. */

#include "lib/settings.h"
#include "lib/units.h"
#include "t/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static int
pair(void *ctx, avp_str_t key, avp_str_t value)
{
    const avp_str_t *text = ctx;

    MUST(key.len > 0 && key.data >= text->data);
    MUST(value.data + value.len <= text->data + text->len);
    MUST(memchr(value.data, '\n', value.len) == NULL);
    MUST(memchr(value.data, '\0', value.len) == NULL);
    MUST(avp_size_parse(value) >= -1);
    MUST(avp_duration_parse(value) >= -1);
    avp_secret_is_placeholder(value);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int     fd = -1;
    static char    path[64];
    char          *copy = copy_of(data, size);
    avp_str_t      text = { copy, size };
    avp_settings_t s;
    char           err[AVP_SETTINGS_ERROR], ignored[AVP_SETTINGS_ERROR];
    int            parsed = avp_env_parse(text, pair, &text, err);

    MUST((parsed == 0) == (err[0] == '\0'));
    free(copy);

    if (fd == -1) {
        clearenv();
        fd = memfd_create("env", MFD_CLOEXEC);
        MUST(fd != -1);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    /* NAME_FILE could name a pipe to wait for */
    if (memmem(data, size, "_FILE", 5) != NULL) {
        return 0;
    }
    MUST(ftruncate(fd, 0) == 0);
    MUST(pwrite(fd, data, size, 0) == (ssize_t)size);

    if (avp_settings_load(&s, path, ignored, err) == 0) {
        MUST(parsed == 0);
        MUST(s.worker_slots >= 0 && s.worker_slots <= 64);
        MUST(s.lease >= 3 && s.lease <= 3600);
        MUST(s.max_video_size > 0 && s.allowed_formats != 0);
        MUST(s.out_mp4 || s.out_webm || s.out_hls);
        MUST(s.quality_levels != 0 && s.storage_dir[0] == '/');
        avp_settings_free(&s);
    } else {
        MUST(err[0] != '\0' && s.storage_dir == NULL);
    }
    return 0;
}
