#!/bin/sh
# One benchmark by name, or the list of what there is.  Called by ./avp bench,
# which has installed and built what is needed.

cd "$(dirname "$0")/.." || exit 1
name=${1:-}

case $name in
''|*[!a-z0-9-]*) ;;
*)
    if [ -f "bench/$name/main.py" ]; then
        shift
        PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "bench/$name/main.py" "$@"
    fi ;;
esac

[ -z "$name" ] || echo "there is no benchmark $name"
echo "usage: ./avp bench NAME [OPTIONS]    (--help tells NAME's)"
for f in bench/*/main.py; do
    d=${f%/main.py}
    printf '  %-11s %s\n' "${d#bench/}" "$(sed -n '1s/^"""//p' "$f")"
done
[ -z "$name" ] || exit 2
