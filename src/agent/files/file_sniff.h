/*
 * file_sniff.h - what a file is by its content, for images without file(1): the few types that matter for whether
 * it is text, under the names that file(1) gives them. No guesses: what is not known is application/octet-stream.
 */
#pragma once

#include "base/base.h"

#define FILE_SNIFF_BYTES ((size_t)65536) /* how much of a file is worth looking at */

/* `beginning` are the first bytes of the file, `whole` if they are all of it. A static string. */
const char *file_sniff(struct str beginning, bool whole);
