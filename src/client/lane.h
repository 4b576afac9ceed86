/*
 * lane.h - where one call at a time runs: a curl handle with its connection, and one descriptor to wait on.
 *
 * Theory of operation: curl tells its sockets and its timer to an epoll instance (curl_multi_socket_action), so
 * that everything a call waits for is one descriptor that a caller can put into a poll of its own. A client keeps a
 * few lanes that are not in use, for their connections; a call takes one and gives it back, so any number of
 * threads and streams can use a client at the same time, and the lock is held for a moment only.
 */
#pragma once

#include <curl/curl.h>

#include "client/berm.h"

struct lane {
    struct lane *next; /* in the client's list of those not in use */
    CURLM *multi;
    CURL *easy;
    int epoll_fd;
    int timer_fd;
};

/* NULL with *problem. */
struct lane *lane_take(struct berm_client *client, struct berm_problem *problem);
/* Kept for its connection, or freed. */
void lane_give(struct berm_client *client, struct lane *lane);
void lane_free(struct lane *lane); /* NULL is allowed */

/* Does what can be done now, without waiting. -1: curl itself failed. */
int lane_step(struct lane *lane);
