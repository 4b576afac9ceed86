#!/bin/sh
# Run by `meson install`: install.sh BUILD LIBEXECDIR CONFDIR
set -eu
here=$(dirname "$0")
install -D -m 0755 "$1/berm-agent" "${DESTDIR:-}$2/berm-agent"
if [ ! -e "${DESTDIR:-}$3/berm.conf" ]; then
    install -D -m 0644 "$here/berm.conf" "${DESTDIR:-}$3/berm.conf"
fi
