/* Lines of the media process, and its documents. */

#include "lib/media_message.h"
#include "lib/text.h"
#include "t/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char               *copy = copy_of(data, size), *text;
    avp_media_message_t m;
    const char         *why = NULL;

    if (avp_media_message_parse(&m, (avp_str_t){ copy, size }) == 0) {
        MUST(memchr(m.text, '\0', sizeof(m.text)) != NULL);
        MUST(avp_utf8_valid(avp_str_c(m.text)));
        MUST(!avp_text_has_controls(avp_str_c(m.text), false));
        MUST(m.progress >= 0 && m.progress <= 99 && m.eta >= -1);
        MUST(m.memory_bytes >= 0 && m.output_bytes >= 0);
        MUST(m.cpu_seconds >= 0 && m.duration >= 0);
        MUST((m.doc != NULL)
             == (m.kind == AVP_MEDIA_DONE || m.kind == AVP_MEDIA_PLAYABLE));
        if (m.doc != NULL) {
            /* no hole of lib/doc.h can come from here */
            MUST(strstr(m.doc, "\\u0001") == NULL
                 || strstr(m.doc, "\\\\u0001") != NULL);
            MUST(avp_media_doc_check(m.doc, &why) == 0 || why != NULL);
        }
        avp_media_message_free(&m);
    } else {
        MUST(m.doc == NULL);
    }
    free(copy);

    text = malloc(size + 1);
    MUST(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    MUST(avp_media_doc_check(text, &why) == 0 || why != NULL);
    free(text);
    return 0;
}
