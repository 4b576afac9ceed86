/*
 * watch_tree.h - watching one file, one directory or a whole tree of directories with inotify.
 *
 * Theory of operation. A node is a directory that is being watched (or a file, as the root). A directory is first
 * attached to (notify.h) and then read, so that nothing can happen in between unseen; reading goes on in slices of
 * about two milliseconds. What is found while the tree is set up is silent. Later a directory that appears is read
 * "loudly": whatever was created in it before the attachment gets an event of its own. A name found that way is
 * held until the kernel has told everything that had happened by then (found_names.h), for it may be among that,
 * and is announced before the first other event about it.
 *
 * What a directory has with it that is moved into the tree is not told. What is made in it between the move and our
 * attachment is: the kernel gives that a change time which is not before the move's, and the move's is the
 * modification time of the directory that it went to, as long as nothing else has happened there since; else it is
 * not before the last moment at which there was nothing to be told. So nothing is lost, and what changed in the
 * instant before the move may be told as created.
 *
 * A directory that is moved within the tree keeps its nodes: the cookie leads from its old place to the new one.
 * One that is moved away is dropped when no new place has been told for a while. If the kernel's queue overflows,
 * the whole tree is read again and on_lost says so.
 *
 * Links are not followed, except in the path of the root. Paths are bytes.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "notify.h"

struct watch_node;
struct watch_tree;

enum watch_kind {
    WATCH_CREATE,
    WATCH_MODIFY,
    WATCH_DELETE,
    WATCH_MOVE_FROM,
    WATCH_MOVE_TO,
    WATCH_ATTRIB,
    WATCH_KIND_COUNT
};

struct watch_tree_events {
    /* Everything is in place; on_event only after this. */
    void (*on_ready)(struct watch_tree *tree);
    /* `path` lives until the return. */
    void (*on_event)(struct watch_tree *tree, enum watch_kind kind, struct str path, bool directory);
    /* Events have been lost. */
    void (*on_lost)(struct watch_tree *tree);
    /* Once, last: the root is gone, or (`failed`) it could not be watched. */
    void (*on_end)(struct watch_tree *tree, const char *reason, bool failed);
    /* A directory that is not to be looked into. */
    bool (*skip)(struct watch_tree *tree, struct str path);
};

struct watch_tree {
    const struct watch_tree_events *events;
    struct notify *notify;
    struct loop *loop;
    char *path; /* of the root: absolute, as events begin with it */
    bool recursive;
    bool rescan_moved; /* what `skip` says of a directory depends on more than one component of its path */
    bool ready;
    bool ended;
    char reason[160];
    bool failed;

    struct notify_client client;
    struct watch_node *root;
    struct notify_ref root_parent; /* tells of the root's end even while somebody keeps it open */
    char *root_name;
    struct hash_table names; /* nodes by parent and name */
    size_t node_count, node_max;

    struct watch_node *scan_first, **scan_tail;
    struct watch_node *scanning;
    bool scan_waits;
    int scan_fd;
    struct loop_timer scan_timer, setup_timer, move_timer;
    uint64_t ready_position;
    struct watch_node *unsettled, **unsettled_tail; /* with found names, in the order of their positions */
    struct watch_node *moves;                       /* on their way from one place to another */
    struct buf text;                                /* the path of the last event */
    struct loop_deferred end_later;
};

/* Starts; the callbacks come later. `path` is copied. 0, or -1 with *err. */
int watch_tree_start(struct watch_tree *tree, struct notify *notify, const char *path, bool recursive,
                     const struct watch_tree_events *events, struct berm_error *err);
/* No callback comes any more. Not from inside one of its callbacks. */
void watch_tree_stop(struct watch_tree *tree);
