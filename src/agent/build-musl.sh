#!/bin/sh
# Builds berm-agent as a static musl program in a build directory of its own and puts it at the top of the main one.
# Usage: build-musl.sh SOURCE_ROOT BUILD_ROOT STAMP
set -eu

source_root=$1
build_root=$2
stamp=$3
musl=$build_root/musl

# Set up anew when the options below may have changed.
if [ -z "$(find "$musl/build.ninja" -newer "$0" 2>/dev/null)" ]; then
    rm -rf "$musl"
    # -Os and section garbage collection: size is memory here, for each sandbox has its own agent.
    CC=musl-gcc meson setup "$musl" "$source_root" \
        -Dpart=agent -Dtests=false --buildtype=minsize -Db_lto=true -Db_pie=false -Dstrip=true \
        -Dc_args='-ffunction-sections -fdata-sections' -Dc_link_args='-Wl,--gc-sections -s' >"$build_root/musl-setup.log" 2>&1 ||
        { cat "$build_root/musl-setup.log" >&2; exit 1; }
fi
ninja -C "$musl" --quiet src/agent/berm-agent
cmp -s "$musl/src/agent/berm-agent" "$build_root/berm-agent" ||
    { cp -f "$musl/src/agent/berm-agent" "$build_root/berm-agent.new" && mv -f "$build_root/berm-agent.new" "$build_root/berm-agent"; }
touch "$stamp"
