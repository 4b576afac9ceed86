/* credential.h - a request's head with the daemon's own values in it. */
#pragma once

#include "base/buf.h"
#include "daemon/egress/leak_guard.h"
#include "daemon/egress/policy.h"
#include "daemon/egress/secrets.h"
#include "net/h1.h"

/*
 * Appends the head with the fields of `credentials` in place of all that the sandbox has sent by their names, and
 * without Accept-Encoding, as nobody could look into a compressed answer; their values go to the guard. NULL; or a
 * static text that says why the request cannot be sent: then `out` is as it was.
 */
const char *credentials_write(const struct h1_head *head, const struct egress_credential *const *credentials,
                              size_t count, const struct secrets *secrets, struct leak_guard *guard,
                              struct buf *out);
