/* watch_tree.c - the nodes of a watched tree, and what the kernel's events mean for them. */
#include "watch_tree.h"

#include "base/sys.h"
#include "watch_node.h"

#include <fcntl.h>

#define SETUP_MS      10000
#define MOVE_MS       100 /* until a directory that was moved counts as moved away; its new place is told at once */
#define PATH_LONGEST  ((size_t)16 * 1024 * 1024)
#define NODES_DEFAULT 1048576

/* --- the end --- */

static void on_end_later(struct loop_deferred *deferred)
{
    struct watch_tree *tree = container_of(deferred, struct watch_tree, end_later);

    tree->events->on_end(tree, tree->reason, tree->failed);
}

static void end(struct watch_tree *tree, bool failed)
{
    if (tree->ended)
        return;
    tree->ended = true;
    tree->failed = failed;
    loop_timer_stop(tree->loop, &tree->setup_timer);
    loop_defer(tree->loop, &tree->end_later);
}

void watch_tree_fail(struct watch_tree *tree, const char *what, int errnum)
{
    if (!tree->ended && what)
        snprintf(tree->reason, sizeof(tree->reason), "%s%s%s", what, errnum ? ": " : "",
                 errnum ? strerror(errnum) : "");
    end(tree, true);
}

static void end_with(struct watch_tree *tree, const char *reason)
{
    if (!tree->ended)
        snprintf(tree->reason, sizeof(tree->reason), "%s", reason);
    end(tree, false);
}

/* --- paths --- */

/* The components of the way up, last first, are put in front of what is there. */
bool watch_node_path(const struct watch_node *node, struct str name, struct str *ret)
{
    struct watch_tree *tree = node->tree;
    size_t root = strcmp(tree->path, "/") == 0 ? 0 : strlen(tree->path);
    size_t n = root + (name.n > 0 ? name.n + 1 : 0), at;
    char *p;

    for (const struct watch_node *up = node; up->parent; up = up->parent)
        n += strlen(up->name) + 1;
    buf_clear(&tree->text);
    p = buf_reserve(&tree->text, n + 2);
    if (!p) {
        watch_tree_fail(tree, "out of memory", 0);
        return false;
    }
    at = n;
    if (name.n > 0) {
        at -= name.n;
        memcpy(p + at, name.p, name.n);
        p[--at] = '/';
    }
    for (const struct watch_node *up = node; up->parent; up = up->parent) {
        size_t length = strlen(up->name);
        at -= length;
        memcpy(p + at, up->name, length);
        p[--at] = '/';
    }
    memcpy(p, tree->path, root);
    if (n == 0)
        p[n++] = '/';
    p[n] = '\0';
    *ret = (struct str){ p, n };
    return true;
}

void watch_tree_emit(struct watch_node *node, enum watch_kind kind, struct str name, bool directory)
{
    struct watch_tree *tree = node->tree;
    struct str path;

    if (tree->ready && !tree->ended && watch_node_path(node, name, &path))
        tree->events->on_event(tree, kind, path, directory);
}

/* --- nodes --- */

static uint64_t name_hash(const struct watch_node *parent, struct str name)
{
    return hash_text(name) ^ hash_number((uint64_t)(uintptr_t)parent);
}

struct watch_node *watch_node_find(struct watch_node *parent, struct str name)
{
    uint64_t hash = name_hash(parent, name);

    for (struct hash_node *at = hash_chain(&parent->tree->names, hash); at; at = at->next) {
        struct watch_node *node = container_of(at, struct watch_node, by_name);
        if (at->hash == hash && node->parent == parent && str_is(name, node->name))
            return node;
    }
    return NULL;
}

static void on_node_event(struct notify_ref *ref, const struct notify_event *event);

static struct watch_node *new_node(struct watch_tree *tree, struct str name)
{
    struct watch_node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    node->tree = tree;
    node->ref.on_event = on_node_event;
    node->name = str_dup(name);
    if (!node->name) {
        free(node);
        return NULL;
    }
    tree->node_count++;
    return node;
}

/* Puts a node that is nowhere below `parent`. */
static int put_below(struct watch_node *node, struct watch_node *parent)
{
    if (hash_insert(&node->tree->names, &node->by_name, name_hash(parent, str_from(node->name))) < 0)
        return -1;
    node->parent = parent;
    node->next_sibling = parent->first_child;
    node->sibling_place = &parent->first_child;
    if (node->next_sibling)
        node->next_sibling->sibling_place = &node->next_sibling;
    parent->first_child = node;
    return 0;
}

static void take_from_siblings(struct watch_node *node)
{
    *node->sibling_place = node->next_sibling;
    if (node->next_sibling)
        node->next_sibling->sibling_place = node->sibling_place;
}

static void take_from_moves(struct watch_node *node)
{
    if (!node->move_place)
        return;
    *node->move_place = node->move_next;
    if (node->move_next)
        node->move_next->move_place = node->move_place;
    node->move_place = NULL;
}

static void free_leaf(struct watch_node *node)
{
    struct watch_tree *tree = node->tree;

    watch_scan_cancel(node);
    watch_scan_forget(node);
    notify_detach(tree->notify, &node->ref);
    if (node->move_place)
        take_from_moves(node);
    else if (node->parent)
        hash_remove(&tree->names, &node->by_name);
    if (node->parent)
        take_from_siblings(node);
    else
        tree->root = NULL;
    tree->node_count--;
    free(node->name);
    free(node);
}

/* Without recursion: somebody may have made directories ten thousand deep. */
void watch_node_drop(struct watch_node *node)
{
    for (struct watch_node *at = node;;) {
        struct watch_node *parent;
        while (at->first_child)
            at = at->first_child;
        if (at == node)
            break;
        parent = at->parent;
        free_leaf(at);
        at = parent;
    }
    free_leaf(node);
}

struct watch_node *watch_node_add(struct watch_node *parent, struct str name, bool loud)
{
    struct watch_tree *tree = parent->tree;
    struct watch_node *node;
    struct str path;

    if (!watch_node_path(parent, name, &path) || tree->events->skip(tree, path))
        return NULL;
    if (tree->node_count >= tree->node_max) {
        watch_tree_fail(tree, "there are more directories than fs.inotify.max_user_watches allows to watch", 0);
        return NULL;
    }
    node = new_node(tree, name);
    if (!node || put_below(node, parent) < 0) {
        if (node) {
            tree->node_count--;
            free(node->name);
            free(node);
        }
        watch_tree_fail(tree, "out of memory", 0);
        return NULL;
    }
    node->loud = loud;
    watch_scan_add(node);
    return node;
}

/* --- moves --- */

static void on_move_timer(struct loop_timer *timer)
{
    struct watch_tree *tree = container_of(timer, struct watch_tree, move_timer);
    uint64_t now = loop_now_ms(tree->loop);

    for (struct watch_node *node = tree->moves, *next; node; node = next) {
        next = node->move_next;
        if (node->move_until > now)
            continue;
        watch_node_drop(node); /* may take others of the list along, which are below it */
        next = tree->moves;
    }
    if (tree->moves && loop_timer_start(tree->loop, timer, MOVE_MS) < 0)
        watch_tree_fail(tree, "out of memory", 0);
}

/* The node keeps its place in the tree, and so the paths of events below, but not its name. */
static void begin_move(struct watch_node *node, uint32_t cookie)
{
    struct watch_tree *tree = node->tree;

    hash_remove(&tree->names, &node->by_name);
    node->cookie = cookie;
    node->move_until = loop_now_ms(tree->loop) + MOVE_MS;
    node->move_next = tree->moves;
    node->move_place = &tree->moves;
    if (node->move_next)
        node->move_next->move_place = &node->move_next;
    tree->moves = node;
    if (!loop_timer_armed(&tree->move_timer) && loop_timer_start(tree->loop, &tree->move_timer, MOVE_MS) < 0)
        watch_tree_fail(tree, "out of memory", 0);
}

static struct watch_node *find_move(struct watch_tree *tree, uint32_t cookie)
{
    struct watch_node *node = tree->moves;

    while (node && node->cookie != cookie)
        node = node->move_next;
    return node;
}

/* What an exchange of two directories pushed from its place. */
static struct watch_node *find_displaced(struct watch_node *parent, struct str name)
{
    struct watch_node *node = parent->tree->moves;

    while (node && (node->cookie != 0 || node->parent != parent || !str_is(name, node->name)))
        node = node->move_next;
    return node;
}

static void on_moved_from(struct watch_node *parent, struct str name, uint32_t cookie)
{
    struct watch_node *node = find_displaced(parent, name);

    if (node) {
        node->cookie = cookie;
        return;
    }
    node = watch_node_find(parent, name);
    if (node)
        begin_move(node, cookie);
}

static bool is_below(const struct watch_node *node, const struct watch_node *above)
{
    while (node && node != above)
        node = node->parent;
    return node != NULL;
}

/* The next node of a walk over `top` and everything below, or NULL. */
static struct watch_node *next_below(struct watch_node *node, const struct watch_node *top)
{
    if (node->first_child)
        return node->first_child;
    while (node != top && !node->next_sibling)
        node = node->parent;
    return node == top ? NULL : node->next_sibling;
}

static void rescan(struct watch_node *top, bool reattach)
{
    for (struct watch_node *node = top; node; node = next_below(node, top)) {
        node->reattach |= reattach;
        watch_scan_add(node);
    }
}

/* False: the node cannot be put there, and is gone. */
static bool finish_move(struct watch_node *node, struct watch_node *parent, struct str name)
{
    struct watch_tree *tree = node->tree;
    char *copy = str_dup(name);
    struct str path;

    if (!copy || is_below(parent, node) || !watch_node_path(parent, name, &path) ||
        tree->events->skip(tree, path)) {
        free(copy);
        watch_node_drop(node);
        return false;
    }
    take_from_moves(node);
    take_from_siblings(node);
    free(node->name);
    node->name = copy;
    (void)put_below(node, parent); /* cannot fail: the table has room for a node that was in it before */
    if (tree->rescan_moved)
        rescan(node, false);
    return true;
}

static void on_moved_to(struct watch_node *parent, struct str name, uint32_t cookie)
{
    struct watch_node *there = watch_node_find(parent, name);
    struct watch_node *node = find_move(parent->tree, cookie);

    if (there)
        begin_move(there, 0);
    if (node && finish_move(node, parent, name))
        return;
    node = watch_node_add(parent, name, false);
    if (node && parent->tree->ready)
        watch_scan_add_moved(node);
}

/* --- events --- */

/* A name that was found is told before anything else about it, but for its own appearance. */
static void announce(struct watch_node *node, uint32_t mask, struct str name)
{
    struct found_name *item = node->found ? found_names_take(node->found, name) : NULL;

    if (item && !(mask & (IN_CREATE | IN_MOVED_TO)))
        watch_tree_emit(node, WATCH_CREATE, name, item->directory);
}

static void on_directory_event(struct watch_node *node, const struct notify_event *event)
{
    struct watch_node *child;

    if (event->mask & IN_CREATE) {
        if (!watch_node_find(node, event->name))
            (void)watch_node_add(node, event->name, node->tree->ready);
    } else if (event->mask & IN_DELETE) {
        child = watch_node_find(node, event->name);
        if (child)
            watch_node_drop(child);
    } else if (event->mask & IN_MOVED_FROM) {
        on_moved_from(node, event->name, event->cookie);
    } else if (event->mask & IN_MOVED_TO) {
        on_moved_to(node, event->name, event->cookie);
    }
}

static void emit_all(struct watch_node *node, const struct notify_event *event)
{
    static const struct {
        uint32_t mask;
        enum watch_kind kind;
    } kinds[] = {
        { IN_CREATE, WATCH_CREATE },        { IN_MODIFY, WATCH_MODIFY },    { IN_DELETE, WATCH_DELETE },
        { IN_MOVED_FROM, WATCH_MOVE_FROM }, { IN_MOVED_TO, WATCH_MOVE_TO }, { IN_ATTRIB, WATCH_ATTRIB },
    };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (event->mask & kinds[i].mask)
            watch_tree_emit(node, kinds[i].kind, event->name, event->mask & IN_ISDIR);
}

/* About the directory itself; for all but the root the one above tells the same. */
static void on_own_event(struct watch_node *node, const struct notify_event *event)
{
    if (node->parent) {
        if (event->mask & IN_IGNORED)
            watch_node_drop(node);
        return;
    }
    emit_all(node, event);
    if (event->mask & (IN_DELETE_SELF | IN_IGNORED))
        end_with(node->tree, "the watched path was removed");
    else if (event->mask & IN_MOVE_SELF)
        end_with(node->tree, "the watched path was moved");
    else if (event->mask & IN_UNMOUNT)
        end_with(node->tree, "the file system of the watched path was unmounted");
}

static void on_node_event(struct notify_ref *ref, const struct notify_event *event)
{
    struct watch_node *node = container_of(ref, struct watch_node, ref);
    struct watch_tree *tree = node->tree;

    if (tree->ended)
        return;
    watch_scan_settle_before_event(tree);
    if (event->name.n == 0) {
        on_own_event(node, event);
        return;
    }
    announce(node, event->mask, event->name);
    emit_all(node, event);
    if (tree->recursive && event->mask & IN_ISDIR && !tree->ended)
        on_directory_event(node, event);
}

/* The root's own events come only when nobody has it open any more. */
static void on_root_parent_event(struct notify_ref *ref, const struct notify_event *event)
{
    struct watch_tree *tree = container_of(ref, struct watch_tree, root_parent);

    if (!tree->root_name || !str_is(event->name, tree->root_name))
        return;
    if (event->mask & IN_DELETE)
        end_with(tree, "the watched path was removed");
    else if (event->mask & IN_MOVED_FROM)
        end_with(tree, "the watched path was moved");
    else if (event->mask & IN_MOVED_TO)
        end_with(tree, "the watched path was replaced");
}

static void on_overflow(struct notify_client *client)
{
    struct watch_tree *tree = container_of(client, struct watch_tree, client);

    if (tree->ended || !tree->root)
        return;
    while (tree->moves)
        watch_node_drop(tree->moves);
    rescan(tree->root, true);
    if (tree->ready)
        tree->events->on_lost(tree);
}

static void on_progress(struct notify_client *client)
{
    struct watch_tree *tree = container_of(client, struct watch_tree, client);

    if (!tree->ended)
        watch_scan_settle(tree);
}

/* --- start and stop --- */

static void on_setup_timeout(struct loop_timer *timer)
{
    watch_tree_fail(container_of(timer, struct watch_tree, setup_timer), "it took longer than 10 s to set up", 0);
}

static size_t most_nodes(void)
{
    char text[24];
    uint64_t n;

    if (read_small_file(AT_FDCWD, "/proc/sys/fs/inotify/max_user_watches", text, sizeof(text)) > 0 &&
        str_to_u64((struct str){ text, strcspn(text, "\n") }, &n) == 0)
        return (size_t)MIN(n, (uint64_t)NODES_DEFAULT) + 1;
    return NODES_DEFAULT;
}

int watch_tree_start(struct watch_tree *tree, struct notify *notify, const char *path, bool recursive,
                     const struct watch_tree_events *events, struct berm_error *err)
{
    *tree = (struct watch_tree){ .events = events,
                                 .notify = notify,
                                 .loop = notify->loop,
                                 .recursive = recursive,
                                 .scan_fd = -EBADF,
                                 .end_later = { .callback = on_end_later },
                                 .client = { .on_overflow = on_overflow, .on_progress = on_progress },
                                 .root_parent = { .on_event = on_root_parent_event } };
    tree->scan_tail = &tree->scan_first;
    tree->unsettled_tail = &tree->unsettled;
    tree->node_max = most_nodes();
    buf_init(&tree->text, PATH_LONGEST);
    loop_timer_init(&tree->scan_timer, watch_scan_turn);
    loop_timer_init(&tree->setup_timer, on_setup_timeout);
    loop_timer_init(&tree->move_timer, on_move_timer);
    if (notify_join(notify, &tree->client) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "inotify%s",
                         errno == EMFILE ? " (fs.inotify.max_user_instances)" : "");
    tree->path = strdup(path);
    tree->root = new_node(tree, (struct str){ "", 0 });
    if (!tree->path || !tree->root || loop_timer_start(tree->loop, &tree->setup_timer, SETUP_MS) < 0) {
        watch_tree_stop(tree);
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "watch");
    }
    watch_scan_add(tree->root);
    return 0;
}

void watch_tree_stop(struct watch_tree *tree)
{
    tree->ended = true;
    if (tree->root)
        watch_node_drop(tree->root);
    notify_detach(tree->notify, &tree->root_parent);
    notify_leave(tree->notify, &tree->client);
    loop_timer_stop(tree->loop, &tree->scan_timer);
    loop_timer_stop(tree->loop, &tree->setup_timer);
    loop_timer_stop(tree->loop, &tree->move_timer);
    loop_defer_cancel(tree->loop, &tree->end_later);
    hash_free(&tree->names);
    buf_free(&tree->text);
    free(tree->root_name);
    free(tree->path);
    tree->root_name = tree->path = NULL;
}
