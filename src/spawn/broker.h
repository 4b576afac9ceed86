/*
 * broker.h - the process that answers the mount calls of all sandboxes (docs/decisions/0014-fuse.md).
 *
 * Theory of operation. It has one socket, on which each sandbox's first process leaves the listener of its filter,
 * and those listeners. A call is read, checked and, if it is one that may be done, given to a helper process, which
 * has 3 s; until that has ended, and a short while longer, no further call of that sandbox is read. That while is a
 * second if it has mounted too often: what the kernel keeps of a connection it keeps for whoever still has its
 * device open, on nobody's account (4.8 KB, measured), also when the file system is gone. A listener ends
 * with the last process of its sandbox. The broker ends when the worker is gone and the last listener.
 *
 * It is two processes that share their descriptors: one does all of that, the other waits for its end. If that was
 * not in order, it starts another one, which goes on with the listeners that it finds. A call that was being
 * answered has no answer then, and its process waits until it is ended.
 */
#pragma once

#include "base/error.h"
#include "fuse.h"

#include <sys/types.h>

struct broker {
    pid_t pid;
    int socket_fd; /* for children to leave their listeners on */
};

/* Forks it. It takes the caller's rights and filter as they are, and both descriptors of the host. 0, or -1 with
 * *err. */
int broker_start(const struct fuse_host *host, struct broker *ret, struct berm_error *err);

/* Takes the socket away, and waits a moment for its end: it goes on while sandboxes have listeners. */
void broker_stop(struct broker *broker);

/* In a sandbox's first process: hands the listener over and closes it. Without a broker it is closed all the same.
 */
void broker_hand_over(int socket_fd, int listener_fd);
