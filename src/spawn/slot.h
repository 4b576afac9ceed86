/*
 * slot.h - the parts of a sandbox, made ahead of time while the worker is idle: id range, user, network and IPC
 * namespace, cgroups with limits, subvolume with quota, bound agent socket, and the root file system of the image
 * and with the limits and the name that the last sandbox had. A sandbox that wants others changes or rebuilds what
 * differs.
 *
 * The number of the id range names everything: cgroups "s12", subvolume "s12", socket ".s12.sock", the record of
 * its FUSE connections "s12.fuse". So what a crash leaves behind can be found and removed by name, and cannot be
 * confused with anything that is alive.
 */
#pragma once

#include "base/error.h"
#include "base/spawn_wire.h"
#include "cgroup.h"
#include "egress.h"
#include "image.h"
#include "range.h"
#include "stage.h"

#define SLOT_NAME_SIZE 16

enum slot_stage { SLOT_IDS, SLOT_NAMESPACES, SLOT_CGROUP, SLOT_DISK, SLOT_TREE, SLOT_READY };

struct slot {
    uint32_t index;
    enum slot_stage stage; /* the next to be done */
    int userns_fd;
    int netns_fd;
    int ipcns_fd;
    int listen_fd;
    uint32_t network; /* of the namespace */
    struct egress_sockets egress;
    int tree_fd;         /* the root file system, or -EBADF */
    uint32_t tree_image; /* the number of the image in it */
    uint64_t tree_shm_bytes;
    struct spawn_limits limits;         /* already in force */
    char hostname[SPAWN_HOSTNAME_SIZE]; /* that its files tell, or "" */
};

/* What slots are made from; filled by the worker. */
struct slot_maker {
    struct range_pool *ranges;
    const struct cgroup_host *cgroups;
    const struct stage *stage;
    uid_t owner_uid;
    gid_t owner_gid;
    struct spawn_limits usual_limits; /* those of the last sandbox */
    uint32_t usual_network;
    char usual_hostname[SPAWN_HOSTNAME_SIZE]; /* "" when there was none yet */
    const struct image *usual_image;          /* likewise; NULL when there was none or it is gone */
    struct slot *ready;
    uint32_t ready_count, ready_wanted;
    struct slot *next; /* being made, or NULL */
};

void slot_name(uint32_t index, char name[SLOT_NAME_SIZE]);

/*
 * Does one stage of one slot towards `ready_wanted`, or removes one too many: at most a fraction of a millisecond.
 * 1: there is more to do, 0: all are ready, -1: it failed and what it had made is gone again.
 */
int slot_prepare(struct slot_maker *maker, struct berm_error *err);
int slot_set_wanted(struct slot_maker *maker, uint32_t count);

/* A complete slot for an image that is in use: a ready one, or one made here and now. */
int slot_take(struct slot_maker *maker, const struct image *image, const struct spawn_create *create,
              struct slot *ret, struct berm_error *err);
/* Ready slots let go of an image that is about to be unmounted. */
void slot_forget_image(struct slot_maker *maker, const struct image *image);
void slot_close_fds(struct slot *slot);

/*
 * Removes everything that carries the slot's number, then frees the number. Missing parts are fine. -1 with EBUSY
 * while a dying process still holds a cgroup: call again. Safe to repeat after any failure.
 */
int slot_remove(struct slot_maker *maker, uint32_t index);

/* Removes the slots that no sandbox has taken. */
void slot_remove_ready(struct slot_maker *maker);
