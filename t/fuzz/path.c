/* What URIs bring: paths, prefixes, ids, tokens; and holes of documents. */

#include "lib/base64url.h"
#include "lib/delivery_token.h"
#include "lib/doc.h"
#include "lib/errors.h"
#include "lib/states.h"
#include "lib/storage_key.h"
#include "lib/uuid.h"
#include "t/fuzz/fuzz.h"

static avp_delivery_key_t key = { .kid = 1, .key_len = 32 };

static void
check_path(avp_str_t s)
{
    if (avp_object_path_check(s) != 0) {
        return;
    }
    MUST(s.len <= 4 * 70);
    MUST(memmem(s.data, s.len, "..", 2) == NULL);
    MUST(memmem(s.data, s.len, "//", 2) == NULL);
    for (size_t i = 0; i < s.len; i++) {
        MUST(strchr("abcdefghijklmnopqrstuvwxyz0123456789_-./", s.data[i])
             != NULL && s.data[i] != '\0');
    }
}

static void
check_doc(avp_str_t s)
{
    avp_doc_fill_t f = { avp_str("http://h/api/v1"), avp_str("https://cdn"),
                         &key, 1767226500 };
    size_t         size = avp_doc_size(s, &f);
    char          *out = malloc(size ? size : 1);
    long           n = avp_doc_write(out, size, s, &f);

    MUST(n == -1 || (size_t)n <= size);
    if (n > 0) { /* just enough, and one too few */
        free(out);
        out = malloc((size_t)n);
        MUST(avp_doc_write(out, (size_t)n, s, &f) == n);
        MUST(avp_doc_write(out, (size_t)n - 1, s, &f) == -1);
    }
    free(out);
}

static void
check_base64(avp_str_t s)
{
    uint8_t *raw = malloc(s.len ? s.len : 1);
    char    *text = malloc(s.len + 4);
    long     n = avp_base64url_decode(raw, s.len, s);

    if (n >= 0) { /* what is accepted is the only spelling of its bytes */
        MUST(avp_base64url_encode(text, raw, (size_t)n) == s.len);
        MUST(s.len == 0 || memcmp(text, s.data, s.len) == 0);
    }
    free(raw);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             *copy = copy_of(data, size);
    avp_str_t         s = { copy, size };
    char              id[AVP_UUID_LEN + 1], again[AVP_UUID_LEN + 1];
    avp_video_state_t v;
    avp_job_state_t   j;
    avp_class_t       c;

    check_path(s);
    check_doc(s);
    check_base64(s);

    MUST(avp_prefix_check(s) != 0 || s.len < AVP_PREFIX_MAX);
    if (avp_uuid_parse(id, s) == 0) {
        MUST(avp_uuid_parse(again, avp_str_c(id)) == 0);
        MUST(strcmp(id, again) == 0);
    }

    /* nobody guesses a MAC */
    MUST(avp_delivery_check(&key, 1,
                            avp_str("0f9b2c3d-4e5f-6a7b-8c9d-abcdef012345"),
                            s, 0) == AVP_DELIVERY_INVALID);
    MUST(avp_delivery_check(&key, 1, s,
             avp_str("01ffffffff00000000000000000000000000000000"), 0)
         == AVP_DELIVERY_INVALID);

    MUST(avp_error_by_code(s) <= AVP_ERR_COUNT);
    avp_video_state_parse(s, &v);
    avp_job_state_parse(s, &j);
    avp_class_by_name(s, &c);
    free(copy);
    return 0;
}
