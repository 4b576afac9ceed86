/* listing.h - the routes of a sandbox as one JSON array. */
#pragma once

#include "daemon/api/api.h"
#include "daemon/edge/routes.h"

/*
 * Answers {"<key>":[...]} once it is known what runs. `write` is called for each route that has not expired, by
 * kind and port, and writes an object or nothing. `generation` is of the run that is there now, 0 if none is.
 * Nothing is woken.
 */
struct listing {
    const char *key;
    void (*write)(struct json_writer *w, const struct edge *edge, const struct edge_route *route,
                  int64_t generation);
};

void edge_list(struct request *request, const struct listing *listing);
