/*
 * notify.h - the agent's one inotify instance, shared by all watches: instances are few (128 for all sandboxes of a
 * host together, unless its administrator raises fs.inotify.max_user_instances), and the kernel has one mark per
 * inode and instance anyway.
 *
 * Theory of operation. A mark is what the kernel calls a watch descriptor. Everybody who wants to hear of an inode
 * has a notify_ref on its mark; the last ref to go takes the mark away. All marks have the same mask, so nobody's
 * wishes replace another's. Events are read in turns of a bounded size; reading can be held while somebody looks at
 * a directory and must not be overtaken by what happens in it.
 *
 * The position counts the bytes that have been read. notify_end() is the position that will be reached when
 * everything has been read that has happened up to now.
 */
#pragma once

#include "base/hash.h"
#include "base/loop.h"

#include <sys/inotify.h>

struct notify_mark;

struct notify_event {
    uint32_t mask;
    uint32_t cookie;
    struct str name; /* of the entry in the directory; empty: the inode itself */
};

struct notify_ref {
    struct notify_mark *mark; /* NULL: not attached */
    struct notify_ref *next, **place;
    /* The mark is gone already when the mask has IN_IGNORED. May detach any ref, and free it. */
    void (*on_event)(struct notify_ref *ref, const struct notify_event *event);
};

/* Somebody who wants to know of lost events, and of progress. */
struct notify_client {
    struct notify_client *next;
    void (*on_overflow)(struct notify_client *client);
    void (*on_progress)(struct notify_client *client); /* after each turn: the position has changed */
};

struct notify {
    struct loop *loop;
    int fd; /* -EBADF until the first client */
    struct loop_io io;
    struct hash_table marks; /* by number */
    uint64_t position;
    size_t unread;    /* of the buffer whose events are being told */
    int64_t quiet_ns; /* see notify_quiet_ns() */
    unsigned holds;
    struct notify_client *clients, *client_cursor;
    struct notify_mark *dispatching;
    struct notify_ref *cursor;
    struct loop_deferred close_later;
};

void notify_init(struct notify *notify, struct loop *loop);

/* The first client opens the instance, the last closes it. 0, or -1 with errno (EMFILE: no more instances). */
int notify_join(struct notify *notify, struct notify_client *client);
void notify_leave(struct notify *notify, struct notify_client *client); /* idempotent */

/* Attaches to the inode of an open descriptor. 0, or -1 with errno (ENOSPC: fs.inotify.max_user_watches). */
int notify_attach(struct notify *notify, struct notify_ref *ref, int fd);
void notify_detach(struct notify *notify, struct notify_ref *ref); /* idempotent */

uint64_t notify_position(const struct notify *notify);
uint64_t notify_end(const struct notify *notify);

/* Whether the kernel has nothing more to tell than what has been told, the event that is being told included. */
bool notify_is_quiet(const struct notify *notify);
/* A time of the files' clock, in ns: what is being told, and all that will be told, has happened since. */
int64_t notify_quiet_ns(const struct notify *notify);

/* Reading rests from the first hold to the last release. */
void notify_hold(struct notify *notify);
void notify_release(struct notify *notify);
