/*
 * port_head.h - what a probe of port-watch understands of HTTP: the request it sends, the status and the redirect
 * of the answer. Pure functions over bytes from whatever listens on a port of the sandbox.
 *
 * More lenient than net/h1.h on purpose: nothing is framed by this, and a development server with untidy heads is
 * ready all the same.
 */
#pragma once

#include "base/buf.h"

#define PORT_HEAD_MAX   ((size_t)64 * 1024)
#define PORT_TARGET_MAX ((size_t)8192)

/*
 * The final status at the head's beginning (1xx heads are skipped) with *ret_location the value of its Location
 * field (n == 0: none); 0 if more bytes are needed, -1 if this is not HTTP/1.
 */
int port_head_parse(struct str bytes, struct str *ret_location);

/* Whether a browser would follow the Location of such an answer. */
bool port_head_redirects(int status);

/*
 * Where a redirect leads from `target` (origin-form) on `port`: writes the new target and sets *port. -1 if that is
 * not a plain HTTP address of this machine's loopback, or too long.
 */
int port_head_follow(struct str location, struct str target, unsigned *port, struct buf *ret_target);

/* `path` as an origin-form target: with a slash in front, without a fragment, percent-encoded where need be. 0, -1.
 */
int port_head_target(struct str path, struct buf *ret_target);
