/*
 * secret_store.h - the secrets of egress policies where they last: in the store, in clear text, as everything that
 * the daemon must be able to use without anybody being asked. Nothing answers a value.
 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/egress/secrets.h"

/* At the start, with the store open and egress on. */
int secret_store_load(struct daemon *daemon, struct berm_error *err);
/* In the store before it holds. Name and value are valid. */
int secret_store_put(struct daemon *daemon, struct str name, struct str value, struct berm_error *err);
/* *ret_found: whether there was one. */
int secret_store_delete(struct daemon *daemon, struct str name, bool *ret_found, struct berm_error *err);
