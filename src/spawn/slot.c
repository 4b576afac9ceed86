#include "slot.h"

#include "base/fault.h"
#include "base/sys.h"
#include "disk.h"
#include "fuse.h"
#include "namespaces.h"
#include "rootfs.h"
#include "step.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LISTEN_BACKLOG 512
#define SHM_MAX        (UINT64_C(64) << 20)

void slot_name(uint32_t index, char name[SLOT_NAME_SIZE])
{
    snprintf(name, SLOT_NAME_SIZE, "s%u", index % (RANGE_BLOCKS * RANGE_BLOCK));
}

static void socket_name(uint32_t index, char name[SLOT_NAME_SIZE + 8])
{
    char slot[SLOT_NAME_SIZE];

    slot_name(index, slot);
    snprintf(name, SLOT_NAME_SIZE + 8, ".%s.sock", slot);
}

/*
 * Nobody can connect before listen(), so there is no moment in which the socket has the wrong owner. It gets its
 * final name when a sandbox takes it; connections follow the file.
 */
static int make_listener(const struct slot_maker *maker, uint32_t index)
{
    const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    _cleanup_close_ int sock = socket(AF_UNIX, type, 0);
    int run = maker->stage->run_fd;
    char name[SLOT_NAME_SIZE + 8];
    struct sockaddr_un address;
    socklen_t len;

    socket_name(index, name);
    if (sock < 0 || unix_address_at(run, name, &address, &len) < 0)
        return -1;
    if (unlinkat(run, name, 0) < 0 && errno != ENOENT)
        return -1;
    if (bind(sock, (const struct sockaddr *)&address, len) < 0 || fchmodat(run, name, 0600, 0) < 0)
        return -1;
    if (fchownat(run, name, maker->owner_uid, maker->owner_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return listen(sock, LISTEN_BACKLOG) < 0 ? -1 : TAKE_FD(sock);
}

static int do_ids(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    if (step_fault(STEP_USERNS) || (slot->userns_fd = userns_new(range_uid_base(slot->index))) < 0)
        return step_fail(err, STEP_USERNS);
    if (step_fault(STEP_LISTEN) || (slot->listen_fd = make_listener(maker, slot->index)) < 0)
        return step_fail(err, STEP_LISTEN);
    FAULT_POINT("spawn.slot.listener");
    return 0;
}

static int make_netns(struct slot_maker *maker, struct slot *slot, uint32_t network, struct berm_error *err)
{
    struct egress_sockets *egress = network == SPAWN_NETWORK_EGRESS ? &slot->egress : NULL;

    close_fd(&slot->netns_fd);
    egress_close(&slot->egress);
    slot->network = network;
    if (step_fault(STEP_NETNS) || (slot->netns_fd = netns_new(maker->stage->home_netns_fd, egress)) < 0)
        return step_fail(err, STEP_NETNS);
    return 0;
}

static int do_namespaces(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    if (step_fault(STEP_IPCNS) || (slot->ipcns_fd = ipcns_new(maker->stage->home_ipcns_fd)) < 0)
        return step_fail(err, STEP_IPCNS);
    return make_netns(maker, slot, maker->usual_network, err);
}

static int do_cgroup(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    char name[SLOT_NAME_SIZE];

    slot_name(slot->index, name);
    if (step_fault(STEP_CGROUP) || cgroup_create(maker->cgroups, name) < 0)
        return step_fail(err, STEP_CGROUP);
    if (cgroup_set_limits(maker->cgroups, name, NULL, &maker->usual_limits) < 0)
        return step_fail(err, STEP_LIMITS);
    slot->limits = maker->usual_limits;
    FAULT_POINT("spawn.slot.cgroup");
    return 0;
}

static int write_identity(const struct slot_maker *maker, struct slot *slot, const char *hostname,
                          struct berm_error *err)
{
    char name[SLOT_NAME_SIZE];

    slot_name(slot->index, name);
    if (step_fault(STEP_IDENTITY) || rootfs_write_identity(maker->stage->disk_fd, name, hostname) < 0)
        return step_fail(err, STEP_IDENTITY);
    snprintf(slot->hostname, sizeof(slot->hostname), "%s", hostname);
    return 0;
}

static int do_disk(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    _cleanup_close_ int subvolume = -EBADF;
    char name[SLOT_NAME_SIZE];

    slot_name(slot->index, name);
    if (step_fault(STEP_SUBVOLUME) || disk_subvolume_create(maker->stage->disk_fd, name) < 0)
        return step_fail(err, STEP_SUBVOLUME);
    subvolume = openat(maker->stage->disk_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (subvolume < 0 || fchmod(subvolume, 0700) < 0 ||
        rootfs_prepare_upper(subvolume, range_uid_base(slot->index)) < 0)
        return step_fail(err, STEP_SUBVOLUME);
    if (step_fault(STEP_QUOTA) || disk_set_limit(subvolume, slot->limits.disk_bytes) < 0)
        return step_fail(err, STEP_QUOTA);
    FAULT_POINT("spawn.slot.subvolume");
    return maker->usual_hostname[0] ? write_identity(maker, slot, maker->usual_hostname, err) : 0;
}

static uint64_t shm_bytes(const struct spawn_limits *limits)
{
    return MIN(SHM_MAX, limits->memory_bytes / 2);
}

static int build_tree(const struct slot_maker *maker, struct slot *slot, const struct image *image,
                      const struct spawn_limits *limits, struct berm_error *err)
{
    char name[SLOT_NAME_SIZE];
    const struct rootfs_plan plan = {
        .name = name,
        .image = image->path,
        .has_workspace = image->has_workspace,
        .has_tmp = image->has_tmp,
        .disk_fd = maker->stage->disk_fd,
        .userns_fd = slot->userns_fd,
        .uid_base = range_uid_base(slot->index),
        .shm_bytes = shm_bytes(limits),
    };

    slot_name(slot->index, name);
    close_fd(&slot->tree_fd);
    slot->tree_fd = rootfs_build(&plan, err);
    if (slot->tree_fd < 0)
        return -1;
    slot->tree_image = image->number;
    slot->tree_shm_bytes = plan.shm_bytes;
    return 0;
}

/* Without a guess at the image the tree is left to slot_take(). */
static int do_tree(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    return maker->usual_image ? build_tree(maker, slot, maker->usual_image, &slot->limits, err) : 0;
}

/* One stage; on failure everything of the slot is undone. */
static int advance(struct slot_maker *maker, struct slot *slot, struct berm_error *err)
{
    static int (*const stages[])(struct slot_maker *, struct slot *, struct berm_error *) = {
        [SLOT_IDS] = do_ids,   [SLOT_NAMESPACES] = do_namespaces, [SLOT_CGROUP] = do_cgroup, [SLOT_DISK] = do_disk,
        [SLOT_TREE] = do_tree,
    };

    if (stages[slot->stage](maker, slot, err) < 0) {
        slot_close_fds(slot);
        slot_remove(maker, slot->index);
        return -1;
    }
    slot->stage++;
    return 0;
}

static int begin(struct slot_maker *maker, struct slot *ret, struct berm_error *err)
{
    *ret = (struct slot){
        .userns_fd = -EBADF, .netns_fd = -EBADF, .ipcns_fd = -EBADF, .listen_fd = -EBADF, .tree_fd = -EBADF
    };
    ret->egress = (struct egress_sockets){ -EBADF, -EBADF };
    ret->index = range_alloc(maker->ranges);
    if (ret->index == RANGE_NONE)
        return berm_fail(err, BERM_E_CAPACITY_EXCEEDED, EDQUOT, "all user id ranges are in use");
    return 0;
}

static int finish_one_stage(struct slot_maker *maker, struct berm_error *err)
{
    struct slot *slot = maker->next;

    if (advance(maker, slot, err) < 0) {
        free(slot);
        maker->next = NULL;
        return -1;
    }
    if (slot->stage != SLOT_READY)
        return 1;
    maker->ready[maker->ready_count++] = *slot;
    free(slot);
    maker->next = NULL;
    return maker->ready_count != maker->ready_wanted;
}

static void remove_last_ready(struct slot_maker *maker)
{
    struct slot *slot = &maker->ready[--maker->ready_count];

    slot_close_fds(slot);
    slot_remove(maker, slot->index);
}

int slot_prepare(struct slot_maker *maker, struct berm_error *err)
{
    if (maker->ready_count > maker->ready_wanted) {
        remove_last_ready(maker);
        return 1;
    }
    if (maker->next)
        return finish_one_stage(maker, err);
    if (maker->ready_count >= maker->ready_wanted)
        return 0;
    maker->next = malloc(sizeof(*maker->next));
    if (!maker->next)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "slot");
    if (begin(maker, maker->next, err) < 0) {
        free(maker->next);
        maker->next = NULL;
        return -1;
    }
    return finish_one_stage(maker, err);
}

int slot_set_wanted(struct slot_maker *maker, uint32_t count)
{
    /* One more, for the slot that may be half made; what is ready beyond the number goes one by one. */
    size_t room = MAX(count, maker->ready_count) + 1;
    struct slot *ready = reallocarray(maker->ready, room, sizeof(*ready));

    if (!ready)
        return -1;
    maker->ready = ready;
    maker->ready_wanted = count;
    return 0;
}

static int take_any(struct slot_maker *maker, struct slot *ret, struct berm_error *err)
{
    if (maker->ready_count > 0) {
        *ret = maker->ready[--maker->ready_count];
        return 0;
    }
    if (maker->next) {
        *ret = *maker->next;
        free(maker->next);
        maker->next = NULL;
    } else if (begin(maker, ret, err) < 0) {
        return -1;
    }
    while (ret->stage != SLOT_READY)
        if (advance(maker, ret, err) < 0)
            return -1;
    return 0;
}

/* What the slot was not made for. */
static int adapt(struct slot_maker *maker, struct slot *slot, const struct image *image,
                 const struct spawn_create *create, struct berm_error *err)
{
    if (slot->network != create->network && make_netns(maker, slot, create->network, err) < 0)
        return -1;
    if (strcmp(slot->hostname, create->hostname) != 0 && write_identity(maker, slot, create->hostname, err) < 0)
        return -1;
    if (slot->tree_fd >= 0 && slot->tree_image == image->number &&
        slot->tree_shm_bytes == shm_bytes(&create->limits))
        return 0;
    return build_tree(maker, slot, image, &create->limits, err);
}

int slot_take(struct slot_maker *maker, const struct image *image, const struct spawn_create *create,
              struct slot *ret, struct berm_error *err)
{
    maker->usual_image = image;
    maker->usual_limits = create->limits;
    maker->usual_network = create->network;
    memcpy(maker->usual_hostname, create->hostname, sizeof(maker->usual_hostname));
    if (take_any(maker, ret, err) < 0)
        return -1;
    if (adapt(maker, ret, image, create, err) == 0)
        return 0;
    slot_close_fds(ret);
    slot_remove(maker, ret->index);
    return -1;
}

void slot_forget_image(struct slot_maker *maker, const struct image *image)
{
    if (maker->usual_image == image)
        maker->usual_image = NULL;
    for (uint32_t i = 0; i < maker->ready_count; i++)
        if (maker->ready[i].tree_image == image->number)
            close_fd(&maker->ready[i].tree_fd);
    if (maker->next && maker->next->tree_image == image->number)
        close_fd(&maker->next->tree_fd);
}

void slot_close_fds(struct slot *slot)
{
    close_fd(&slot->userns_fd);
    close_fd(&slot->netns_fd);
    close_fd(&slot->ipcns_fd);
    close_fd(&slot->listen_fd);
    close_fd(&slot->tree_fd);
    egress_close(&slot->egress);
}

int slot_remove(struct slot_maker *maker, uint32_t index)
{
    char name[SLOT_NAME_SIZE], sock[SLOT_NAME_SIZE + 8];

    slot_name(index, name);
    socket_name(index, sock);
    if (cgroup_remove(maker->cgroups, name) < 0)
        return -1;
    FAULT_POINT("spawn.destroy.cgroup_removed");
    if (disk_subvolume_destroy(maker->stage->disk_fd, name) < 0 && errno != ENOENT)
        return -1;
    if (unlinkat(maker->stage->run_fd, sock, 0) < 0 && errno != ENOENT)
        return -1;
    if (fuse_record_remove(maker->stage->run_fd, index) < 0)
        return -1;
    range_free(maker->ranges, index);
    return 0;
}

void slot_remove_ready(struct slot_maker *maker)
{
    while (maker->ready_count > 0)
        remove_last_ready(maker);
    if (maker->next) {
        slot_close_fds(maker->next);
        slot_remove(maker, maker->next->index);
        free(maker->next);
        maker->next = NULL;
    }
}
