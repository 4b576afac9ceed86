/*
 * held_text.h - bytes that several have at once without copying them: a large answer is what is to be told, and
 * what waits to be sent, and is there once.
 */
#pragma once

#include "buf.h"

struct held_text {
    unsigned refs;
    struct buf bytes;
};

/* Takes the bytes over and leaves `taken` empty; one reference. NULL without memory, `taken` being as it was. */
struct held_text *held_text_new(struct buf *taken);
struct held_text *held_text_ref(struct held_text *text);
void held_text_unref(struct held_text *text); /* NULL is fine */
