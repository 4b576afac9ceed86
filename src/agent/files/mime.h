/*
 * mime.h - the MIME type that a file's name tells, and whether the read routes send that type as text.
 * The table comes from mime.tsv (gen_mime.py): data without relocations, so it costs no memory of its own.
 */
#pragma once

#include "base/base.h"

/* By the last extension of the last component, lower case as it is; NULL if it says nothing. */
const char *mime_by_name(const char *path);
bool mime_is_text(const char *type);
