# Async Video Processing: what builders need. People want ./avp.
#
#   make                 module and workerd
#   make unit            unit tests of lib/ (Check)
#   make lint            structure check, cppcheck
#   make ASAN=1          the same with AddressSanitizer and UBSan (build-asan/)
#   make COVERAGE=1      the same with gcov counters (build-cov/)
#   make install DESTDIR=

CC       ?= cc
PKG      ?= pkg-config
PREFIX   ?= /usr
NGX_SRC  ?= /usr/share/nginx/src
MODULEDIR ?= $(PREFIX)/lib/nginx/modules
SHAREDIR  ?= $(PREFIX)/share/avp

ifeq ($(ASAN),1)
BUILD    ?= build-asan
SAN      := -fsanitize=address,undefined -fno-sanitize-recover=undefined -U_FORTIFY_SOURCE
OPT      := -O1 -g -fno-omit-frame-pointer
else ifeq ($(COVERAGE),1)
BUILD    ?= build-cov
SAN      := --coverage
OPT      := -O0 -g
else
BUILD    ?= build
SAN      :=
OPT      := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
endif

WARN     := -std=gnu11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS   += $(OPT) $(WARN) $(SAN) -fPIE -MMD -MP
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(SAN)

LIB_PKGS      := jansson openssl libjwt
SUPERVISOR_PKGS := libpq hiredis libcurl libmicrohttpd
MEDIA_PKGS    := libavformat libavcodec libavfilter libswscale libswresample libavutil libseccomp zlib

PKG_CFLAGS    := $(shell $(PKG) --cflags $(LIB_PKGS) $(SUPERVISOR_PKGS) $(MEDIA_PKGS))
LIB_LIBS      := $(shell $(PKG) --libs $(LIB_PKGS)) -largon2
WORKERD_LIBS  := $(LIB_LIBS) $(shell $(PKG) --libs $(SUPERVISOR_PKGS) $(MEDIA_PKGS)) -lpthread -lm

LIB_SRCS      := $(wildcard lib/*.c)
WORKERD_SRCS  := $(wildcard workerd/*.c workerd/supervisor/*.c workerd/media/*.c)
UNIT_SRCS     := $(wildcard t/unit/*.c)

LIB_OBJS      := $(LIB_SRCS:%.c=$(BUILD)/%.o)
WORKERD_OBJS  := $(WORKERD_SRCS:%.c=$(BUILD)/%.o)
UNIT_OBJS     := $(UNIT_SRCS:%.c=$(BUILD)/%.o)

MODULE        := $(BUILD)/ngx_http_avp_module.so
WORKERD       := $(BUILD)/workerd

.PHONY: all module workerd unit fuzz lint format install dist clean

all: module workerd
workerd: $(WORKERD)
module: $(MODULE)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/libavp.a: $(LIB_OBJS)
	rm -f $@
	$(AR) rcs $@ $^

$(WORKERD): $(WORKERD_OBJS) $(BUILD)/libavp.a
	$(CC) $(LDFLAGS) -o $@ $^ $(WORKERD_LIBS)

# The module is built by NGINX's own build system, out of its source tree;
# configure runs again only when the build script or the list of files changes.
MODULE_DEPS   := $(wildcard lib/*.[ch] ngx_module/*.[ch] ngx_module/*/*.[ch])

$(MODULE): $(MODULE_DEPS) config ngx_module/build.sh
	AVP_BUILD="$(CURDIR)/$(BUILD)" NGX_SRC="$(NGX_SRC)" ASAN="$(ASAN)" COVERAGE="$(COVERAGE)" \
	  bash ngx_module/build.sh "$(CURDIR)"

$(BUILD)/unit-tests: $(UNIT_OBJS) $(BUILD)/libavp.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(shell $(PKG) --libs check)

# Feeds the packagers without the pipeline; t/media/test_package.py runs it.
PACKTOOL_OBJS := $(patsubst %,$(BUILD)/workerd/media/%.o,out package \
                   package_mp4 package_webm package_hls hls_track fragment \
                   playlist codec_string)

$(BUILD)/packtool: $(BUILD)/t/media/packtool.o $(PACKTOOL_OBJS)
	$(CC) $(LDFLAGS) -o $@ $^ $(shell $(PKG) --libs $(MEDIA_PKGS)) -lpthread -lm

unit: $(BUILD)/unit-tests
	$(BUILD)/unit-tests

clean:
	rm -rf build build-asan build-cov

-include $(LIB_OBJS:.o=.d) $(WORKERD_OBJS:.o=.d) $(UNIT_OBJS:.o=.d)
