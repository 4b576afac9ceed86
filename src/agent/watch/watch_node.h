/* watch_node.h - the inside of watch_tree.h: nodes, and how directories are read. */
#pragma once

#include "found_names.h"
#include "watch_tree.h"

struct watch_node {
    struct notify_ref ref;
    struct watch_tree *tree;
    struct watch_node *parent; /* NULL: the root */
    struct watch_node *first_child, *next_sibling, **sibling_place;
    struct hash_node by_name; /* while not on a move */
    char *name;
    struct watch_node *scan_next, **scan_place; /* NULL: not waiting to be read */
    bool loud;                                  /* what is read gets events */
    int64_t since_ns;                           /* what has changed since then does, too; 0: nothing */
    bool reattach;                              /* the name may stand for another directory by now */
    struct found_names *found;
    uint64_t found_position; /* by then the kernel has told what it knows of them */
    struct watch_node *unsettled_next, **unsettled_place;
    struct watch_node *move_next, **move_place; /* NULL: not on a move */
    uint32_t cookie;                            /* 0: something else was moved to its place */
    uint64_t move_until;
};

/* --- watch_tree.c --- */

/* NULL after the tree has been failed, or if the directory is to be skipped. */
struct watch_node *watch_node_add(struct watch_node *parent, struct str name, bool loud);
struct watch_node *watch_node_find(struct watch_node *parent, struct str name);
void watch_node_drop(struct watch_node *node); /* with everything below */
/* "<root>/a/b" or "<root>/a/b/<name>" in tree->text. False without memory: the tree has failed then. */
bool watch_node_path(const struct watch_node *node, struct str name, struct str *ret);
void watch_tree_fail(struct watch_tree *tree, const char *what, int errnum);
void watch_tree_emit(struct watch_node *node, enum watch_kind kind, struct str name, bool directory);

/* --- watch_scan.c --- */

void watch_scan_add(struct watch_node *node);
/* The node is of a directory that has just been moved into the tree, which was the last thing that was told. */
void watch_scan_add_moved(struct watch_node *node);
void watch_scan_cancel(struct watch_node *node); /* idempotent */
void watch_scan_forget(struct watch_node *node); /* what was found in it; idempotent */
void watch_scan_turn(struct loop_timer *timer);  /* of tree->scan_timer */
/*
 * Announces what is sure to have been there before the event that is being told. This very event, and what else
 * comes in one turn with it, may be about something inside of what was found.
 */
void watch_scan_settle_before_event(struct watch_tree *tree);
/* Announces what was found in nodes whose time has come, and tells when the tree is ready. */
void watch_scan_settle(struct watch_tree *tree);
