/* request.h - the parts of api.h that only router.c, proxy.c and tests use. */
#pragma once

#include "daemon/api/api.h"

/* NULL without memory. The exchange's callbacks are set. */
struct request *request_new(struct daemon *daemon, struct http_exchange *exchange, const struct h1_head *head);

/* A row of the route table; `index` is below api_route_none(). */
const struct route *api_route(size_t index);

/* Matches a path against a pattern of the route table. */
bool route_match(const char *pattern, struct str path, struct str params[2], struct str *rest);

/* Whether a Host field is "localhost" or an address, so that no DNS answer decides where it leads. */
bool host_is_literal(struct str host);
