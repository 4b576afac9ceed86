/* watch_scan.c - attaching to directories and reading them, in slices. */
#include "agent/child/sink.h"
#include "base/sys.h"
#include "watch_node.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SLICE_NS ((uint64_t)2000000)
#define PIECE    ((size_t)3900) /* of a path, below PATH_MAX */
#define NS_PER_S INT64_C(1000000000)

/* What getdents64(2) fills in. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* What statx(2) fills in, which musl does not declare. */
struct file_time {
    int64_t s;
    uint32_t ns;
    int32_t reserved;
};

struct file_times {
    uint32_t mask, others[7];
    uint64_t numbers[4];
    struct file_time accessed, born, changed, modified;
    uint64_t rest[16];
};

_Static_assert(sizeof(struct file_times) == 256, "as the kernel has it");
_Static_assert(offsetof(struct file_times, accessed) == 0x40, "as the kernel has it");

enum { TIME_MODIFIED = 0x40, TIME_CHANGED = 0x80, TIME_BORN = 0x800 }; /* STATX_MTIME and so on */

/* --- the queue --- */

static void kick(struct watch_tree *tree)
{
    if (!loop_timer_armed(&tree->scan_timer) && loop_timer_start(tree->loop, &tree->scan_timer, 0) < 0)
        watch_tree_fail(tree, "out of memory", 0);
}

void watch_scan_add(struct watch_node *node)
{
    struct watch_tree *tree = node->tree;

    if (!node->scan_place) {
        node->scan_next = NULL;
        node->scan_place = tree->scan_tail;
        *tree->scan_tail = node;
        tree->scan_tail = &node->scan_next;
    }
    kick(tree);
}

static void take_from_queue(struct watch_node *node)
{
    struct watch_tree *tree = node->tree;

    if (!node->scan_place)
        return;
    *node->scan_place = node->scan_next;
    if (node->scan_next)
        node->scan_next->scan_place = node->scan_place;
    else
        tree->scan_tail = node->scan_place;
    node->scan_place = NULL;
}

static bool tells(const struct watch_node *node)
{
    return node->loud || node->since_ns != 0;
}

static void end_reading(struct watch_tree *tree)
{
    if (tells(tree->scanning))
        notify_release(tree->notify);
    tree->scanning = NULL;
    close_fd(&tree->scan_fd);
}

void watch_scan_cancel(struct watch_node *node)
{
    take_from_queue(node);
    if (node->tree->scanning == node)
        end_reading(node->tree);
}

/* --- opening --- */

/* `path` is relative to `from` and may be longer than the kernel takes at once. No link is followed in it. */
static int open_long(int from, char *path)
{
    _cleanup_close_ int at = -EBADF;

    while (strlen(path) > PIECE) {
        char *cut = path + PIECE;
        int next;
        while (*cut != '/')
            cut--;
        *cut = '\0';
        next = open_beneath(at >= 0 ? at : from, path, O_PATH | O_DIRECTORY, 0);
        close_fd(&at);
        if (next < 0)
            return -1;
        at = next;
        path = cut + 1;
    }
    return open_beneath(at >= 0 ? at : from, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0);
}

/*
 * The root is not kept open: as long as anybody has a directory open, its end is not told. The root itself may be
 * something else than a directory.
 */
static int open_node(struct watch_node *node)
{
    struct watch_tree *tree = node->tree;
    _cleanup_close_ int root =
        open(tree->path, node->parent ? O_PATH | O_CLOEXEC : O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct str path;

    if (root < 0 && errno == ENOTDIR && !node->parent)
        return open(tree->path, O_PATH | O_CLOEXEC);
    if (root < 0 || !node->parent)
        return TAKE_FD(root);
    if (!watch_node_path(node, (struct str){ NULL, 0 }, &path))
        return -1;
    return open_long(root, buf_head(&tree->text) + strlen(tree->path) + (strcmp(tree->path, "/") != 0));
}

static bool is_directory(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static void fail_to_attach(struct watch_tree *tree, int errnum)
{
    char limit[24] = "?";

    if (tree->ended || errnum != ENOSPC) {
        watch_tree_fail(tree, "inotify_add_watch", errnum);
        return;
    }
    if (read_small_file(AT_FDCWD, "/proc/sys/fs/inotify/max_user_watches", limit, sizeof(limit)) > 0)
        limit[strcspn(limit, "\n")] = '\0';
    snprintf(tree->reason, sizeof(tree->reason),
             "there are more directories than can be watched: fs.inotify.max_user_watches is %s", limit);
    watch_tree_fail(tree, NULL, 0);
}

/* The name below its parent under which the root is gone; see watch_tree.c. */
static int attach_root_parent(struct watch_tree *tree, int root_fd)
{
    _cleanup_close_ int parent = -EBADF;
    char link[40], path[4096];
    char *slash;
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", root_fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return -1;
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash || !slash[1])
        return 0; /* "/" has no end */
    free(tree->root_name);
    tree->root_name = strdup(slash + 1);
    if (!tree->root_name)
        return -1;
    slash[slash == path] = '\0';
    parent = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* The parent may be out of reach; then the root's own events have to do. */
    if (parent < 0)
        return 0;
    notify_detach(tree->notify, &tree->root_parent);
    return notify_attach(tree->notify, &tree->root_parent, parent) < 0 && errno != EACCES ? -1 : 0;
}

/* --- reading --- */

/* Back into the queue, which is looked at again when the loop has been round. */
static void wait_for_events(struct watch_node *node)
{
    node->tree->scan_waits = true;
    watch_scan_add(node);
}

/* True if the directory is open and is to be read. */
static bool begin_reading(struct watch_tree *tree, struct watch_node *node)
{
    _cleanup_close_ int fd = open_node(node);

    if (tree->ended)
        return false;
    if (fd < 0 && node->parent && (errno == EACCES || errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
        if (errno != EACCES)
            watch_tree_fail(tree, "open", errno);
        return false; /* what nobody may look into is watched from above only */
    }
    if (fd < 0 && node->parent) {
        if (notify_is_quiet(tree->notify))
            watch_node_drop(node); /* it is gone, or something else by now */
        else
            wait_for_events(node); /* or one above it has been moved, which is about to be told */
        return false;
    }
    if (fd < 0) {
        watch_tree_fail(tree, "open", errno);
        return false;
    }
    if (node->reattach)
        notify_detach(tree->notify, &node->ref);
    node->reattach = false;
    if (!node->ref.mark && notify_attach(tree->notify, &node->ref, fd) < 0) {
        if (errno != EACCES || !node->parent)
            fail_to_attach(tree, errno);
        return false;
    }
    if (!node->parent && attach_root_parent(tree, fd) < 0) {
        fail_to_attach(tree, errno);
        return false;
    }
    if (!tree->recursive || !is_directory(fd))
        return false;
    /* btrfs and tmpfs show what was there when the directory was opened or rewound: what came before the mark would
     * be lost. */
    if (lseek(fd, 0, SEEK_SET) < 0) {
        watch_tree_fail(tree, "lseek", errno);
        return false;
    }
    tree->scan_fd = TAKE_FD(fd);
    tree->scanning = node;
    if (tells(node))
        notify_hold(tree->notify);
    return true;
}

static bool entry_is_directory(int fd, const struct entry *entry)
{
    struct stat st;

    if (entry->type != DT_UNKNOWN)
        return entry->type == DT_DIR;
    return fstatat(fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void remember(struct watch_node *node, struct str name, bool directory)
{
    if (!node->found)
        node->found = found_names_new();
    if (!node->found || found_names_add(node->found, name, directory) < 0)
        node->tree->events->on_lost(node->tree);
}

/* What an entry of a directory that was moved here is: it came along, or is new as a whole, or only its name is. */
enum newness { CAME_ALONG, NEW_NAME, NEW };

static int64_t ns_of(const struct file_time *t)
{
    return t->s * NS_PER_S + t->ns;
}

static enum newness newness_of(const struct watch_node *node, const struct entry *entry, bool directory)
{
    const unsigned mask = TIME_MODIFIED | TIME_CHANGED | TIME_BORN;
    struct file_times times;
    int64_t changed;

    /* It is gone again, which the kernel tells if it is told at all. */
    if (syscall(SYS_statx, node->tree->scan_fd, entry->name, AT_SYMLINK_NOFOLLOW, mask, &times) < 0)
        return CAME_ALONG;
    changed = ns_of(&times.changed);
    if (changed < node->since_ns)
        return CAME_ALONG;
    if (!directory || (times.mask & TIME_BORN && ns_of(&times.born) >= node->since_ns))
        return NEW;
    /* An old directory: something was made in it, which is seen there, or it was itself moved here. */
    return ns_of(&times.modified) == changed ? CAME_ALONG : NEW_NAME;
}

static void take_entry(struct watch_node *node, const struct entry *entry)
{
    struct str name = str_from(entry->name);
    enum newness newness = node->loud ? NEW : CAME_ALONG;
    struct watch_node *child;
    bool directory;

    if (str_is(name, ".") || str_is(name, ".."))
        return;
    directory = entry_is_directory(node->tree->scan_fd, entry);
    if (!node->loud && node->since_ns != 0)
        newness = newness_of(node, entry, directory);
    if (newness != CAME_ALONG)
        remember(node, name, directory);
    if (!directory || watch_node_find(node, name))
        return;
    child = watch_node_add(node, name, newness == NEW);
    if (child && newness != NEW)
        child->since_ns = node->since_ns;
}

static void end_of_directory(struct watch_tree *tree)
{
    struct watch_node *node = tree->scanning;

    end_reading(tree);
    node->loud = false;
    node->since_ns = 0;
    if (!node->found || node->unsettled_place)
        return;
    node->found_position = notify_end(tree->notify);
    node->unsettled_next = NULL;
    node->unsettled_place = tree->unsettled_tail;
    *tree->unsettled_tail = node;
    tree->unsettled_tail = &node->unsettled_next;
    watch_scan_settle(tree);
}

static void read_piece(struct watch_tree *tree)
{
    struct watch_node *node = tree->scanning;
    long n = syscall(SYS_getdents64, tree->scan_fd, scratch, SCRATCH_SIZE);

    if (n <= 0) { /* the end; or it has been removed while we read */
        end_of_directory(tree);
        return;
    }
    for (long at = 0; at < n && tree->scanning == node;) {
        const struct entry *entry = (const struct entry *)(const void *)(scratch + at);
        at += entry->length;
        take_entry(node, entry);
    }
}

void watch_scan_turn(struct loop_timer *timer)
{
    struct watch_tree *tree = container_of(timer, struct watch_tree, scan_timer);
    uint64_t from = clock_monotonic_ns();

    tree->scan_waits = false;
    while (!tree->ended && (tree->scanning || tree->scan_first)) {
        if (tree->scanning) {
            read_piece(tree);
        } else {
            struct watch_node *node = tree->scan_first;
            take_from_queue(node);
            begin_reading(tree, node);
        }
        if ((tree->scan_waits || clock_monotonic_ns() - from > SLICE_NS) && (tree->scanning || tree->scan_first)) {
            kick(tree);
            return;
        }
    }
    if (!tree->ended && !tree->ready) {
        tree->ready_position = notify_end(tree->notify);
        watch_scan_settle(tree);
    }
}

/* --- what was moved here --- */

/* Events come a moment after the times that the kernel sets, which others may set anew meanwhile. */
#define MOVE_SLACK_NS (INT64_C(10) * 1000000)

/* When the directory's names, and when it or its place, last changed. False: it is not there. */
static bool times_of(struct watch_node *node, int64_t *ret_modified, int64_t *ret_changed)
{
    _cleanup_close_ int fd = open_node(node);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    *ret_modified = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
    *ret_changed = st.st_ctim.tv_sec * NS_PER_S + st.st_ctim.tv_nsec;
    return true;
}

/*
 * The move is not before the queue of events was last empty. It set the modification time of the parent and the
 * change time of the directory, so it is not after either, unless both have changed again; the parent has where
 * another one is being moved there, which sets the time first and sends the event then.
 */
void watch_scan_add_moved(struct watch_node *node)
{
    const struct notify *notify = node->tree->notify;
    int64_t parent, ignored, own, moved;

    node->since_ns = notify_quiet_ns(notify);
    if (times_of(node->parent, &parent, &ignored) && times_of(node, &ignored, &own)) {
        moved = MIN(parent, own);
        if (moved > node->since_ns && notify_is_quiet(notify)) /* in that order */
            node->since_ns = moved;
    }
    node->since_ns -= MOVE_SLACK_NS;
}

/* --- what was found --- */

static void take_from_unsettled(struct watch_node *node)
{
    if (!node->unsettled_place)
        return;
    *node->unsettled_place = node->unsettled_next;
    if (node->unsettled_next)
        node->unsettled_next->unsettled_place = node->unsettled_place;
    else
        node->tree->unsettled_tail = node->unsettled_place;
    node->unsettled_place = NULL;
}

void watch_scan_forget(struct watch_node *node)
{
    take_from_unsettled(node);
    found_names_free(TAKE_PTR(node->found));
}

static void announce_all(struct watch_node *node)
{
    struct found_names *found = TAKE_PTR(node->found);
    struct found_name *item;

    take_from_unsettled(node);
    while ((item = found_names_take_any(found)))
        watch_tree_emit(node, WATCH_CREATE, (struct str){ item->name, item->n }, item->directory);
    found_names_free(found);
}

/* The position is behind the event; the one before it is the greatest end of an event that is below. */
void watch_scan_settle_before_event(struct watch_tree *tree)
{
    uint64_t position = notify_position(tree->notify);

    while (tree->unsettled && tree->unsettled->found_position < position)
        announce_all(tree->unsettled);
}

void watch_scan_settle(struct watch_tree *tree)
{
    uint64_t position = notify_position(tree->notify);

    while (tree->unsettled && tree->unsettled->found_position <= position)
        announce_all(tree->unsettled);
    if (tree->ready || tree->ended || tree->scanning || tree->scan_first || position < tree->ready_position)
        return;
    tree->ready = true;
    loop_timer_stop(tree->loop, &tree->setup_timer);
    tree->events->on_ready(tree);
}
