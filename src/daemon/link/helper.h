/*
 * helper.h - starting berm-link and berm-connector, while bermd is root.
 *
 * It gets the wire and, listening, its two sockets, and loses root before it runs. Dialling it is a user of its
 * own, because the daemon's may read the database; at an edge, where there is none, it is server.user, which has to
 * be able to read the certificate's key. berm-connector is a third one, so that no cloudflared can reach berm-link.
 */
#pragma once

#include "daemon/launch.h"
#include "daemon/link/wire.h"

struct link_helper {
    int fd; /* the wire; -EBADF: there is none, or it has been taken */
    pid_t pid;
};

int link_helper_dial(const struct config *config, struct link_helper *ret, struct berm_error *err);
int link_helper_listen(const struct config *config, const struct launch *as, struct link_helper *ret,
                       struct berm_error *err);
/* berm-connector, for cloudflareds that are to reach `port` of the loopback. */
int link_helper_connector(const struct config *config, int port, struct link_helper *ret, struct berm_error *err);
/* Certificates may have changed. */
void link_helper_reload(const struct link_helper *helper);
/* After the wire is closed: waits a moment for it to leave. */
void link_helper_wait(const struct link_helper *helper);
