/*
 * ports.h - published ports: listeners on the host's loopback that lead to ports of a sandbox. Docker would publish
 * on all addresses; here it is 127.0.0.1 whatever is asked for, as the daemon has no way to say who may come.
 */
#pragma once

#include "daemon/docker/engine.h"

/* A listener on 127.0.0.1: `port` 0 is any. on_connection owns the accepted socket, which is non-blocking. */
struct loopback_listener {
    struct loop_io io;
    struct loop *loop;
    struct loop_timer pause; /* after descriptors ran out */
    void (*on_connection)(struct loopback_listener *listener, int fd);
};

int loopback_listen(struct loopback_listener *listener, struct loop *loop, uint16_t port,
                    void (*on_connection)(struct loopback_listener *listener, int fd), struct berm_error *err);
void loopback_close(struct loopback_listener *listener); /* idempotent, also for a zeroed one */
uint16_t loopback_port(const struct loopback_listener *listener);

/* HostConfig.PortBindings, and with PublishAllPorts every ExposedPort. */
int port_map_create(struct container *container, const struct json *body, struct berm_error *err);
/* The label that keeps what is published; nothing for a map that is NULL or empty. */
void port_map_write_label(struct json_writer *w, const struct port_map *map);
/* Of that label, after a restart of the daemon. A port that somebody else has now is told in the log, and lost. -1
 * without memory.
 */
int port_map_restore(struct container *container, const struct json *labels);
/* Members of NetworkSettings.Ports. */
void port_map_write(struct json_writer *w, const struct port_map *map);
/* Entries of the list's Ports. */
void port_map_list(struct json_writer *w, const struct port_map *map);
void port_list_write(struct json_writer *w, uint16_t inside, uint16_t host);
void port_map_free(struct port_map *map); /* NULL is allowed */
