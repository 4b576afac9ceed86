/*
 * turns.h - work that takes long, such as the steps of TLS handshakes, cut in pieces of which the loop does one in
 * each of its turns, behind whatever else has happened: so nobody waits for more than one. Those on whose behalf it
 * is done come one after the other, however much each of them wants.
 */
#pragma once

#include "base/list.h"
#include "base/loop.h"

struct turns {
    struct loop *loop;
    struct list owners; /* who want something */
    struct loop_deferred next;
};

/* Somebody on whose behalf work is done. */
struct turn_owner {
    struct list node, wanted;
};

/* One piece; zeroed but for `run`, which may free it. */
struct turn {
    struct list node;
    void (*run)(struct turn *turn);
};

void turns_init(struct turns *turns, struct loop *loop);
/* Nothing is wanted any more. */
void turns_fini(struct turns *turns);
void turn_owner_init(struct turn_owner *owner);
/* None of its pieces is wanted any more. */
void turn_owner_fini(struct turn_owner *owner);

/* Runs it in a turn to come. One that is wanted already keeps its place. */
void turn_want(struct turns *turns, struct turn_owner *owner, struct turn *turn);
/* It is wanted no more, if it was. */
void turn_cancel(struct turn *turn);
