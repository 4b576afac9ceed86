/*
 * spawn_harness.h - drives berm-spawn over its socket, in place of the daemon. For tests and measurements; needs
 * root.
 */
#pragma once

#include "base/spawn_wire.h"

#include <sys/types.h>

struct spawn_harness {
    char base[256];      /* everything is below it */
    char data[300];      /* <base>/data */
    char images[300];    /* <base>/images */
    const char *program; /* berm-spawn */
    const char *agent;
    const char *extra[8]; /* more arguments, NULL-terminated */
    pid_t keeper;
    int sock;
    uint64_t serial;
    uint8_t digest[32]; /* of the image that the requests name */
    int exit_events;
    struct spawn_reply last_event;
};

/* A temporary directory with a small image in it. Dies with a message on failure, as all of these do. */
void harness_init(struct spawn_harness *h, const char *program, const char *agent);
/* Installs an image made of the directory tree `tree` under a digest of 32 times `id`. */
void harness_install_image(struct spawn_harness *h, const char *tree, uint8_t id);
void harness_start(struct spawn_harness *h);
/* Closes the socket and waits: the exit status of the keeper. */
int harness_stop(struct spawn_harness *h);
/* Runs --stop-all, then removes the directory. */
void harness_fini(struct spawn_harness *h);

/* A request with defaults: serial, key, for CREATE also limits, image and host name. */
struct spawn_request harness_request(struct spawn_harness *h, uint32_t op, uint64_t key);
void harness_send(struct spawn_harness *h, const struct spawn_request *r);
/* The next message; events are counted and kept, and skipped unless `with_events`. */
struct spawn_reply harness_receive(struct spawn_harness *h, int *ret_fd, int with_events);
/* The same for a reply with up to SPAWN_EGRESS_FDS descriptors; what did not come is -EBADF. */
struct spawn_reply harness_receive_fds(struct spawn_harness *h, int ret_fds[SPAWN_EGRESS_FDS], int with_events);
struct spawn_reply harness_call(struct spawn_harness *h, const struct spawn_request *r);
struct spawn_reply harness_create(struct spawn_harness *h, uint64_t key);
struct spawn_reply harness_simple(struct spawn_harness *h, uint32_t op, uint64_t key);

/* Sends one command line to the probe agent of the sandbox and returns its whole answer, in a static buffer. */
const char *harness_ask(struct spawn_harness *h, uint64_t key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs a program and returns its exit status. */
int harness_run(const char *const argv[]);
