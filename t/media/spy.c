/*
 * Preloaded into workerd: says on stderr which demuxers, decoders and parsers
 * are begun and which files libavformat asks for.  Calls between libav's
 * libraries pass through here; t/media/test_whitelists.py reads them.
 */

#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdio.h>
#include <unistd.h>

static void
say(const char *what, const char *name)
{
    char line[200];
    int  n = snprintf(line, sizeof(line), "spy %s %s\n", what,
                      name ? name : "?");

    if (write(2, line, (size_t)n) != n) {
        _exit(98);
    }
}

int
avcodec_open2(AVCodecContext *c, const AVCodec *codec, AVDictionary **o)
{
    int (*real)(AVCodecContext *, const AVCodec *, AVDictionary **);
    const AVCodec *which = codec ? codec : c->codec;
    int            rc;

    *(void **)&real = dlsym(RTLD_NEXT, "avcodec_open2");
    rc = real(c, codec, o);
    if (rc >= 0 && which && av_codec_is_decoder(which)) {
        say("decoder", which->name);
    }
    return rc;
}

AVCodecParserContext *
av_parser_init(int id)
{
    AVCodecParserContext *(*real)(int);
    AVCodecParserContext *p;

    *(void **)&real = dlsym(RTLD_NEXT, "av_parser_init");
    p = real(id);
    if (p) {
        say("parser", avcodec_get_name((enum AVCodecID)id));
    }
    return p;
}

int
avformat_open_input(AVFormatContext **ctx, const char *url,
                    const AVInputFormat *f, AVDictionary **o)
{
    int (*real)(AVFormatContext **, const char *, const AVInputFormat *,
                AVDictionary **);
    int rc;

    *(void **)&real = dlsym(RTLD_NEXT, "avformat_open_input");
    rc = real(ctx, url, f, o);
    if (rc >= 0) {
        say("demuxer", (*ctx)->iformat->name);
    }
    return rc;
}
