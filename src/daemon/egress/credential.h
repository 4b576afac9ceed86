/* credential.h - a request's head with the daemon's own values in it. */
#pragma once

#include "base/buf.h"
#include "daemon/egress/leak_guard.h"
#include "daemon/egress/policy.h"
#include "daemon/egress/secrets.h"
#include "net/h1.h"

/*
 * Appends the head with the fields of `credentials` in place of all that the sandbox has sent by their names; their
 * values go to the guard, and fields that ask for compressed answers, into which nobody could look, are left out.
 * So is, with credentials or without, an upgrade to anything but WebSocket (request_fields.h). NULL; or a static
 * text that says why the request cannot be sent: then `out` is as it was.
 */
const char *credentials_write(const struct h1_head *head, const struct egress_credential *const *credentials,
                              size_t count, const struct secrets *secrets, struct leak_guard *guard,
                              struct buf *out);
