/*
 * spawn_link.h - the daemon's end of the wire to berm-spawn (base/spawn_wire.h): requests with callbacks, events.
 *
 * Requests are answered in any order; each has a serial under which its callback waits. When the worker restarts,
 * everything pending fails with SPAWNER_UNAVAILABLE and on_restarted() comes after that; when the socket closes,
 * the spawner is gone for good and on_lost() comes last. An unanswered request fails with TIMED_OUT; whatever it
 * did is found by the key it named.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/spawn_wire.h"

struct spawn_link;

/* `reply` is NULL when `err->code` is not BERM_OK and no reply came. */
typedef void (*spawn_done)(const struct spawn_reply *reply, const struct berm_error *err, void *data);

struct spawn_link_events {
    void (*on_sandbox)(uint64_t key, const struct spawn_sandbox *sandbox, void *data); /* an answer to LIST */
    void (*on_volume)(uint64_t number, void *data); /* an answer to VOLUME_LIST */
    void (*on_committed)(uint64_t number, const struct spawn_reply *event, void *data);
    void (*on_image)(uint64_t number, const struct spawn_image *image, void *data); /* an answer to IMAGE_LIST */
    void (*on_exit)(uint64_t key, const struct spawn_sandbox *sandbox, void *data);
    void (*on_restarted)(void *data);
    void (*on_lost)(void *data);
    void *data;
};

/* Takes over `fd`, a connected seqpacket socket. */
struct spawn_link *spawn_link_new(struct loop *loop, int fd, uint32_t timeout_ms,
                                  const struct spawn_link_events *events, struct berm_error *err);
void spawn_link_free(struct spawn_link *link); /* pending callbacks do not come */

/*
 * Sends `request`, whose version and serial are filled in here. The callback comes later, exactly once, unless -1
 * is returned. `done` NULL: nobody waits.
 */
int spawn_link_send(struct spawn_link *link, struct spawn_request *request, spawn_done done, void *data,
                    struct berm_error *err);
/* Inside a spawn_done: the next of the descriptors that came with the reply, now the caller's, or -EBADF. What is
 * not taken is closed. */
int spawn_link_take_fd(struct spawn_link *link);
/* The callbacks with this `data` will not come. */
void spawn_link_forget(struct spawn_link *link, const void *data);
bool spawn_link_alive(const struct spawn_link *link);
