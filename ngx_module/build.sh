#!/bin/bash
# Builds the NGINX module in ROOT against the distribution's nginx-dev:
#   build.sh ROOT      (AVP_BUILD, NGX_SRC, ASAN, COVERAGE from make)
# NGINX's configure insists on writing its build folder and on running in its
# source folder; both stay untouched because --builddir is ours.
set -eu

root=$1
build=$AVP_BUILD/nginx
src=${NGX_SRC:-/usr/share/nginx/src}

[ -r "$src/conf_flags" ] || {
    echo "build.sh: $src/conf_flags not found: apt-get install nginx-dev" >&2
    exit 1
}

cc_opt="$(dpkg-buildflags --get CFLAGS) -fPIC $(dpkg-buildflags --get CPPFLAGS)"
ld_opt="$(dpkg-buildflags --get LDFLAGS) -fPIC"

if [ "${ASAN:-}" = 1 ]; then
    cc_opt="-O1 -g -fno-omit-frame-pointer -fPIC -fsanitize=address,undefined"
    ld_opt="-fPIC -fsanitize=address,undefined"
elif [ "${COVERAGE:-}" = 1 ]; then
    cc_opt="-O0 -g -fPIC --coverage"
    ld_opt="-fPIC --coverage"
fi

stamp="$cc_opt|$ld_opt|$(cd "$root" && ls lib/*.[ch] ngx_module/*.[ch] ngx_module/*/*.[ch] | tr '\n' ' ')|$(cksum < "$root/config")"

cd "$src"
if [ ! -f "$build/Makefile" ] || [ "$stamp" != "$(cat "$build/avp.stamp" 2>/dev/null)" ]; then
    rm -rf "$build"
    mkdir -p "$build"
    # shellcheck disable=SC1091
    . ./conf_flags
    ./configure --with-cc-opt="$cc_opt" --with-ld-opt="$ld_opt" \
        "${NGX_CONF_FLAGS[@]}" --add-dynamic-module="$root" \
        --builddir="$build" > "$build.configure.log" 2>&1 ||
        { tail -n 30 "$build.configure.log" >&2; exit 1; }
    printf '%s' "$stamp" > "$build/avp.stamp"
fi

make -s -f "$build/Makefile" modules
cp "$build/ngx_http_avp_module.so" "$AVP_BUILD/ngx_http_avp_module.so.tmp"
mv "$AVP_BUILD/ngx_http_avp_module.so.tmp" "$AVP_BUILD/ngx_http_avp_module.so"
