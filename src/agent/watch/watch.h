/*
 * watch.h - the watches of the agent: who asks for the same gets the same watch.
 *
 * Theory of operation. A watch is a tree (watch_tree.h) with patterns, an id and a count of its events, which
 * together are the version that watch/check compares. It lives as long as it has users (streams, and checks that
 * wait for it to be ready) or is retained by a check, which holds for ten minutes without live users. When events
 * have been lost the watch gets a new id, so that every version that was given out before is seen to be old.
 */
#pragma once

#include "base/error.h"
#include "watch_tree.h"

struct agent;
struct watch;

#define WATCH_ID_SIZE 48

struct watch_table {
    struct watch *first;
    size_t count;
    uint64_t next_id;
    struct notify notify;
};

struct watch_spec {
    const char *path; /* absolute, normalised */
    bool recursive;
    unsigned kinds; /* bit 1 << enum watch_kind */
    bool including; /* the patterns are those to be told of; else those not to be told of */
    struct str *patterns;
    size_t pattern_count;
};

struct watch_user {
    struct watch *watch; /* NULL: none */
    struct watch_user *next, **place;
    bool live; /* a stream */
    void (*on_ready)(struct watch_user *user);
    void (*on_event)(struct watch_user *user, enum watch_kind kind, struct str path, bool directory);
    void (*on_lost)(struct watch_user *user);
    /* The watch is over, and the user has left it. */
    void (*on_end)(struct watch_user *user, const char *reason, bool failed);
};

void watch_table_init(struct watch_table *table, struct loop *loop);

/* `user` has its callbacks. True in *ret_created if there was no such watch. 0, or -1 with *err. */
int watch_join(struct agent *agent, const struct watch_spec *spec, struct watch_user *user, bool *ret_created,
               struct berm_error *err);
void watch_leave(struct watch_user *user); /* idempotent */

/* The strings are the watch's; its id changes when events were lost. */
bool watch_is_ready(const struct watch *watch); /* its directories have been read: on_ready has come */
const char *watch_path(const struct watch *watch);
const char *watch_id(const struct watch *watch);
uint64_t watch_event_count(const struct watch *watch);
/* It outlives its users for ten minutes, so that the version a check gave out can be asked about again. */
void watch_retain(struct watch *watch);

/* For the agent's end: every user gets on_end. */
void watch_end_all(struct agent *agent, const char *reason);

/* "create", "modify", ... */
extern const char *const watch_kind_names[WATCH_KIND_COUNT];
