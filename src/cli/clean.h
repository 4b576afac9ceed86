/*
 * clean.h - text of others on its way to a terminal: names, labels, commands, messages. What a program in a sandbox
 * prints goes there as it is, which is what running it means; but a list or an error is ours, and nobody else may
 * move the cursor in it, set the terminal's modes, have it answer on the keyboard, or turn around what is read.
 */
#pragma once

#include "base/buf.h"

enum clean_way {
    CLEAN_LINE, /* the ends of lines become spaces, everything else "?" */
    CLEAN_TEXT, /* the same, but lines and tabs stay */
    CLEAN_JSON  /* a document, in one line: the escapes of JSON, which mean the same as what they replace */
};

/* C0 and C1 controls, marks and overrides of direction, separators of lines, and what is no UTF-8. As buf_append().
 */
int clean_append(struct buf *out, struct str text, enum clean_way way);
