/*
 * process_shelf.h - where the records of processes that ended a while ago are kept: on disk, in the file that holds
 * their output already (byte_log.h), at sixteen bytes of memory each. Used by process.c; the list is for everybody.
 *
 * A record on the shelf is nowhere else. Whoever asks for it by its id gets it back into memory; it is immutable,
 * so what was written once need not be written again when it goes back.
 */
#pragma once

#include "base/base.h"

struct agent;
struct byte_store;
struct process;

struct shelf_place {
    uint64_t at; /* in the store's archive */
    uint32_t hash;
    uint32_t n; /* bytes there; 0: nowhere */
};

struct process_shelf {
    struct shelf_place *places; /* the one that ended first in front, but for those that came back */
    size_t count, cap;
};

void process_shelf_free(struct process_shelf *shelf);

/*
 * Puts a record away that nobody holds and that is in no list: frees it, or returns false (no room on disk, no
 * memory) and leaves it as it is.
 */
bool process_shelf_put(struct agent *agent, struct process *process);
/* The record of that id, off the shelf: nowhere listed, with one reference. NULL: there is none. */
struct process *process_shelf_take(struct agent *agent, struct str id);
/* Forgets the first one. */
void process_shelf_drop_first(struct agent *agent);

/* Calls `callback` with each; `process` lives until the return. */
void process_shelf_each(struct agent *agent, void (*callback)(const struct process *process, void *data),
                        void *data);
