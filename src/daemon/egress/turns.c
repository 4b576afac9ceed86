#include "daemon/egress/turns.h"

static void run_next(struct loop_deferred *deferred)
{
    struct turns *turns = container_of(deferred, struct turns, next);
    struct list *first = list_shift(&turns->owners);
    struct turn_owner *owner = first ? container_of(first, struct turn_owner, node) : NULL;
    struct list *node = owner ? list_shift(&owner->wanted) : NULL;
    struct turn *turn = node ? container_of(node, struct turn, node) : NULL;

    if (owner && !list_empty(&owner->wanted))
        list_append(&turns->owners, &owner->node);
    if (!list_empty(&turns->owners))
        loop_defer(turns->loop, deferred); /* to the loop's next turn, as this one's have been counted */
    if (turn)
        turn->run(turn);
}

void turns_init(struct turns *turns, struct loop *loop)
{
    *turns = (struct turns){ .loop = loop, .next.callback = run_next };
    list_init(&turns->owners);
}

void turns_fini(struct turns *turns)
{
    loop_defer_cancel(turns->loop, &turns->next);
}

void turn_owner_init(struct turn_owner *owner)
{
    *owner = (struct turn_owner){ 0 };
    list_init(&owner->wanted);
}

void turn_owner_fini(struct turn_owner *owner)
{
    list_remove(&owner->node);
}

void turn_want(struct turns *turns, struct turn_owner *owner, struct turn *turn)
{
    if (list_linked(&turn->node))
        return;
    list_append(&owner->wanted, &turn->node);
    if (!list_linked(&owner->node))
        list_append(&turns->owners, &owner->node);
    loop_defer(turns->loop, &turns->next);
}

void turn_cancel(struct turn *turn)
{
    list_remove(&turn->node);
}
