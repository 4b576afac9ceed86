/*
 * recycle.h - memory of one kind of object that is taken and given back all the time, kept for the next one: for
 * objects that are too large for malloc's own quick lists. For one thread.
 */
#pragma once

#include "base.h"

struct recycled {
    void *first;
    unsigned count;
};

/* `size` bytes, the same at each call, with anything in them; or NULL without memory. */
void *recycled_take(struct recycled *recycled, size_t size);
/* Frees it instead if `most` are kept already. NULL is allowed. */
void recycled_give(struct recycled *recycled, void *object, unsigned most);
void recycled_free(struct recycled *recycled);
