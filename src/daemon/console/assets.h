/*
 * assets.h - the files of the console, made by console/build.mjs and built into the program. Every name but that of
 * the page holds a hash of its content, so a file never changes under its name.
 */
#pragma once

#include "base/base.h"

struct console_asset {
    const char *name; /* "" is the page */
    const char *type;
    const char *etag, *etag_gzip; /* with their quotes */
    struct str plain, gzip;
};

/* NULL: there is no such file, or the program was built without the console. */
const struct console_asset *console_asset_find(struct str name);
