#include "t/unit/unit.h"
#include "workerd/media/fragment.h"

#include <string.h>

/* Writes boxes into a buffer; sizes are filled in when they end. */
typedef struct {
    uint8_t p[512];
    size_t  n;
} build_t;

static void
put32(build_t *b, uint32_t v)
{
    for (int i = 3; i >= 0; i--) {
        b->p[b->n++] = (uint8_t)(v >> 8 * i);
    }
}

static size_t
begin(build_t *b, const char *type)
{
    size_t at = b->n;

    put32(b, 0);
    memcpy(b->p + b->n, type, 4);
    b->n += 4;
    return at;
}

static void
end(build_t *b, size_t at)
{
    size_t n = b->n;

    b->n = at;
    put32(b, (uint32_t)(n - at));
    b->n = n;
}

/* moof with two samples of 10 and 20 bytes, and its mdat; the flags say
 * where the sizes stand. */
static void
fragment(build_t *b, uint32_t tfhd_flags, uint32_t trun_flags)
{
    size_t moof = begin(b, "moof"), at = begin(b, "mfhd"), traf, mdat;

    put32(b, 0);
    put32(b, 1);
    end(b, at);
    traf = begin(b, "traf");
    at = begin(b, "tfhd");
    put32(b, tfhd_flags);
    put32(b, 1);
    if (tfhd_flags & 0x08) {
        put32(b, 1001);
    }
    if (tfhd_flags & 0x10) {
        put32(b, 15);
    }
    end(b, at);
    at = begin(b, "trun");
    put32(b, trun_flags);
    put32(b, 2);
    put32(b, 0);                /* data_offset, flag 1 */
    if (trun_flags & 4) {
        put32(b, 0x02000000);   /* first_sample_flags */
    }
    for (uint32_t i = 1; i <= 2; i++) {
        if (trun_flags & 0x100) {
            put32(b, 1001);
        }
        if (trun_flags & 0x200) {
            put32(b, 10 * i);
        }
    }
    end(b, at);
    end(b, traf);
    end(b, moof);
    mdat = begin(b, "mdat");
    b->n += 30;
    end(b, mdat);
}

START_TEST(first_sample)
{
    static const struct {
        uint32_t tfhd, trun, size;
    } cases[] = {
        { 0x020000, 0x201, 10 },
        { 0x020008, 0x205, 10 },
        { 0x020018, 0x305, 10 },
        { 0x020010, 0x001, 15 },
        { 0x020018, 0x105, 15 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        build_t        b = { .n = 0 };
        avp_fragment_t f;
        size_t         styp = begin(&b, "styp");

        put32(&b, 0);
        end(&b, styp);
        fragment(&b, cases[i].tfhd, cases[i].trun);
        ck_assert_int_eq(avp_fragment_parse(&f, b.p, b.n), 0);
        ck_assert_uint_eq(f.moof, 12);
        ck_assert_uint_eq(f.size, b.n - 12);
        ck_assert_uint_eq(f.first, f.size - 30 + cases[i].size);
    }
}
END_TEST

START_TEST(refuses)
{
    build_t        b = { .n = 0 };
    avp_fragment_t f;
    size_t         whole, at;

    fragment(&b, 0x020000, 0x201);
    whole = b.n;
    for (size_t n = 0; n < whole; n++) { /* cut off anywhere */
        ck_assert_int_eq(avp_fragment_parse(&f, b.p, n), -1);
    }
    fragment(&b, 0x020000, 0x201); /* two */
    ck_assert_int_eq(avp_fragment_parse(&f, b.p, b.n), -1);

    b.n = 0;
    at = begin(&b, "mdat"); /* before moof */
    end(&b, at);
    fragment(&b, 0x020000, 0x201);
    ck_assert_int_eq(avp_fragment_parse(&f, b.p, b.n), -1);

    b.n = 0;
    fragment(&b, 0x020000, 0x001); /* no sizes anywhere */
    ck_assert_int_eq(avp_fragment_parse(&f, b.p, b.n), -1);
}
END_TEST

START_TEST(no_byte_is_trusted)
{
    build_t        b = { .n = 0 };
    avp_fragment_t f;

    fragment(&b, 0x020018, 0x305);
    for (size_t i = 0; i < b.n; i++) {
        uint8_t was = b.p[i];

        for (int v = 0; v < 256; v++) {
            b.p[i] = (uint8_t)v;
            if (avp_fragment_parse(&f, b.p, b.n) == 0) {
                ck_assert_uint_le(f.moof + f.size, b.n);
                ck_assert_uint_le(f.first, f.size);
            }
        }
        b.p[i] = was;
    }
}
END_TEST

START_TEST(moov)
{
    build_t b = { .n = 0 };
    size_t  at = begin(&b, "ftyp"), size;

    put32(&b, 0);
    end(&b, at);
    ck_assert_uint_eq(avp_fragment_moov(b.p, b.n, &size), 0);
    ck_assert_uint_eq(size, 0);
    at = begin(&b, "moov");
    put32(&b, 7);
    end(&b, at);
    ck_assert_uint_eq(avp_fragment_moov(b.p, b.n, &size), 12);
    ck_assert_uint_eq(size, 12);
}
END_TEST

UNIT_SUITE(fragment, first_sample, refuses, no_byte_is_trusted, moov)
