/*
 * found_names.h - the entries that were found in a directory which is only now being watched, until it is known
 * which of them the kernel tells about itself.
 */
#pragma once

#include "base/arena.h"
#include "base/hash.h"

#define FOUND_NAMES_MAX ((size_t)65536)

struct found_name {
    struct hash_node hash;
    struct found_name *next; /* in the order of their discovery */
    bool directory;
    bool taken;
    size_t n;
    char name[];
};

struct found_names;

struct found_names *found_names_new(void);        /* NULL without memory */
void found_names_free(struct found_names *found); /* NULL is fine */

/* 0, or -1 past FOUND_NAMES_MAX or without memory. */
int found_names_add(struct found_names *found, struct str name, bool directory);
/* The name, if it is there and has not been taken before; else NULL. */
struct found_name *found_names_take(struct found_names *found, struct str name);
/* The first of those that are left, taken; NULL when none is left. */
struct found_name *found_names_take_any(struct found_names *found);
