#include "lib/sniff.h"

#include <strings.h>

static const struct {
    const char *name;
    const char *mime;
} formats[AVP_FMT_COUNT + 1] = {
    [AVP_FMT_MP4]     = { "mp4",     "video/mp4" },
    [AVP_FMT_MOV]     = { "mov",     "video/quicktime" },
    [AVP_FMT_AVI]     = { "avi",     "video/x-msvideo" },
    [AVP_FMT_MKV]     = { "mkv",     "video/x-matroska" },
    [AVP_FMT_WEBM]    = { "webm",    "video/webm" },
    [AVP_FMT_TS]      = { "ts",      "video/mp2t" },
    [AVP_FMT_MPG]     = { "mpg",     "video/mpeg" },
    [AVP_FMT_FLV]     = { "flv",     "video/x-flv" },
    [AVP_FMT_OGG]     = { "ogg",     "video/ogg" },
    [AVP_FMT_WMV]     = { "wmv",     "video/x-ms-wmv" },
    [AVP_FMT_3GP]     = { "3gp",     "video/3gpp" },
    [AVP_FMT_MXF]     = { "mxf",     "application/mxf" },
    [AVP_FMT_UNKNOWN] = { "unknown", "application/octet-stream" },
};

static bool
begins(const uint8_t *data, size_t n, const void *magic, size_t len)
{
    return n >= len && memcmp(data, magic, len) == 0;
}

static uint32_t
be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8
           | p[3];
}

/* By the major brand of ISO/IEC 14496-12's ftyp. */
static avp_format_t
by_brand(const uint8_t *brand)
{
    /* images in the same box structure: HEIF, AVIF, and Canon's raw */
    static const char images[][5] = { "avif", "avis", "heic", "heix", "hevc",
                                      "hevx", "heim", "heis", "mif1", "msf1",
                                      "crx " };

    if (memcmp(brand, "qt  ", 4) == 0) {
        return AVP_FMT_MOV;
    }

    if (memcmp(brand, "3gp", 3) == 0 || memcmp(brand, "3g2", 3) == 0) {
        return AVP_FMT_3GP;
    }

    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        if (memcmp(brand, images[i], 4) == 0) {
            return AVP_FMT_UNKNOWN;
        }
    }

    return AVP_FMT_MP4;
}

/*
 * Boxes of ISO base media and QuickTime.  Fillers may stand before ftyp;
 * without ftyp it is QuickTime of before 2001, or a lone CMAF segment.
 */
static avp_format_t
sniff_boxes(const uint8_t *data, size_t n)
{
    static const char fillers[][5] = { "wide", "free", "skip", "junk", "pnot",
                                       "uuid" };
    bool              seen = false;

    while (n >= 8) {
        uint64_t       size = be32(data);
        const uint8_t *type = data + 4;
        bool           filler = false;

        if (size > 1 && size < 8) {
            break;
        }

        if (memcmp(type, "ftyp", 4) == 0) {
            return n >= 12 && size >= 12 ? by_brand(data + 8)
                                         : AVP_FMT_UNKNOWN;
        }

        if (memcmp(type, "moov", 4) == 0 || memcmp(type, "mdat", 4) == 0) {
            return AVP_FMT_MOV;
        }

        if (memcmp(type, "styp", 4) == 0 || memcmp(type, "moof", 4) == 0
            || memcmp(type, "sidx", 4) == 0)
        {
            return AVP_FMT_MP4;
        }

        for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
            if (memcmp(type, fillers[i], 4) == 0) {
                filler = true;
            }
        }
        if (!filler) {
            break;
        }

        seen = true;
        if (size < 8 || size >= n) { /* 0: to the end; 1: 64 bits, not here */
            break;
        }
        data += size;
        n -= (size_t)size;
    }

    return seen ? AVP_FMT_MOV : AVP_FMT_UNKNOWN;
}

/* An EBML number (RFC 8794 section 4); `keep` keeps the length marker, as
 * ids do.  Returns its bytes, or 0 when it does not fit. */
static size_t
ebml_number(const uint8_t *p, size_t n, bool keep, uint64_t *v)
{
    size_t len = 1;

    if (n == 0 || p[0] == 0) {
        return 0;
    }
    while (((p[0] << (len - 1)) & 0x80) == 0) {
        len++;
    }
    if (len > n) {
        return 0;
    }

    *v = keep ? p[0] : p[0] & (0xffu >> len);
    for (size_t i = 1; i < len; i++) {
        *v = *v << 8 | p[i];
    }
    return len;
}

static avp_format_t
by_doctype(const uint8_t *word, size_t n)
{
    while (n > 0 && word[n - 1] == 0) { /* may be padded */
        n--;
    }
    if (n == 4 && memcmp(word, "webm", 4) == 0) {
        return AVP_FMT_WEBM;
    }
    if (n == 8 && memcmp(word, "matroska", 8) == 0) {
        return AVP_FMT_MKV;
    }
    return AVP_FMT_UNKNOWN;
}

static bool
contains(const uint8_t *data, size_t n, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i + len <= n; i++) {
        if (memcmp(data + i, word, len) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * The DocType of an EBML header.  A header that cannot be walked but has the
 * word somewhere is a damaged file of that kind, as libav sees it too: then
 * the answer is invalid_media after a look, not unsupported_media_type.
 */
static avp_format_t
sniff_ebml(const uint8_t *data, size_t n)
{
    const uint8_t *header;
    uint64_t       id, size;
    size_t         k, left;

    k = ebml_number(data + 4, n - 4, false, &size);
    if (k == 0) {
        return AVP_FMT_UNKNOWN;
    }
    header = data += 4 + k;
    n -= 4 + k;
    if (size < n) {
        n = (size_t)size;
    }

    for (left = n; left > 0; left -= (size_t)size) {
        k = ebml_number(data, left, true, &id);
        if (k == 0 || k > 4) {
            break;
        }
        data += k;
        left -= k;

        k = ebml_number(data, left, false, &size);
        if (k == 0 || size > left - k) {
            break;
        }
        data += k;
        left -= k;

        if (id == 0x4282) {
            return by_doctype(data, (size_t)size);
        }
        data += size;
    }

    if (left > 0 && contains(header, n, "matroska")) {
        return AVP_FMT_MKV;
    }
    if (left > 0 && contains(header, n, "webm")) {
        return AVP_FMT_WEBM;
    }
    return AVP_FMT_UNKNOWN;
}

/* Sync bytes at every packet from `off` on; how many, or 0. */
static size_t
ts_packets(const uint8_t *data, size_t n, size_t off, size_t packet)
{
    size_t count = 0;

    for (; off < n; off += packet) {
        if (data[off] != 0x47) {
            return 0;
        }
        count++;
    }
    return count;
}

/* Packets of 188 bytes, 192 (time stamp in front, M2TS), or 204 (FEC after).
 * Captures may begin amidst a packet; then more packets have to agree. */
static bool
is_ts(const uint8_t *data, size_t n)
{
    static const struct {
        size_t packet, first;
    } kinds[] = { { 188, 0 }, { 192, 4 }, { 204, 0 } };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (ts_packets(data, n, kinds[i].first, kinds[i].packet) >= 3) {
            return true;
        }
    }

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (size_t off = 1; off < kinds[i].packet && off < n; off++) {
            if (ts_packets(data, n, off, kinds[i].packet) >= 8) {
                return true;
            }
        }
    }

    return false;
}

avp_format_t
avp_sniff(const uint8_t *data, size_t n)
{
    static const uint8_t asf[] = { 0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66,
                                   0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa,
                                   0x00, 0x62, 0xce, 0x6c };
    /* SMPTE 377: partition pack key, any kind of header partition */
    static const uint8_t mxf[] = { 0x06, 0x0e, 0x2b, 0x34, 0x02, 0x05, 0x01,
                                   0x01, 0x0d, 0x01, 0x02, 0x01, 0x01, 0x02 };
    avp_format_t f;

    if (begins(data, n, "\x1a\x45\xdf\xa3", 4)) {
        return sniff_ebml(data, n);
    }

    if (begins(data, n, "RIFF", 4)) {
        return n >= 12 && memcmp(data + 8, "AVI ", 4) == 0 ? AVP_FMT_AVI
                                                           : AVP_FMT_UNKNOWN;
    }

    if (begins(data, n, asf, sizeof(asf))) {
        return AVP_FMT_WMV;
    }

    if (begins(data, n, mxf, sizeof(mxf))) {
        return AVP_FMT_MXF;
    }

    if (begins(data, n, "FLV\x01", 4)) {
        return AVP_FMT_FLV;
    }

    if (begins(data, n, "OggS\x00", 5)) {
        return AVP_FMT_OGG;
    }

    if (begins(data, n, "\x00\x00\x01\xba", 4)) {
        return AVP_FMT_MPG;
    }

    f = sniff_boxes(data, n);
    if (f != AVP_FMT_UNKNOWN) {
        return f;
    }

    return is_ts(data, n) ? AVP_FMT_TS : AVP_FMT_UNKNOWN;
}

const char *
avp_format_name(avp_format_t f)
{
    return formats[(unsigned)f < AVP_FMT_COUNT ? f : AVP_FMT_UNKNOWN].name;
}

const char *
avp_format_mime(avp_format_t f)
{
    return formats[(unsigned)f < AVP_FMT_COUNT ? f : AVP_FMT_UNKNOWN].mime;
}

avp_format_t
avp_format_by_name(avp_str_t word)
{
    for (unsigned i = 0; i < AVP_FMT_COUNT; i++) {
        if (word.len == strlen(formats[i].name)
            && strncasecmp(word.data, formats[i].name, word.len) == 0)
        {
            return (avp_format_t)i;
        }
    }
    return AVP_FMT_UNKNOWN;
}

uint32_t
avp_formats_parse(avp_str_t list)
{
    uint32_t    mask = 0;
    const char *p = list.data, *end = list.data + list.len;

    while (p <= end) {
        const char  *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
        const char  *stop = comma ? comma : end;
        avp_str_t    word;
        avp_format_t f;

        while (p < stop && (*p == ' ' || *p == '\t')) {
            p++;
        }
        word.data = p;
        word.len = (size_t)(stop - p);
        while (word.len > 0
               && (p[word.len - 1] == ' ' || p[word.len - 1] == '\t'))
        {
            word.len--;
        }

        f = avp_format_by_name(word);
        if (f == AVP_FMT_UNKNOWN) {
            return 0;
        }
        mask |= 1u << f;

        p = stop + 1;
        if (comma == NULL) {
            break;
        }
    }

    return mask;
}
