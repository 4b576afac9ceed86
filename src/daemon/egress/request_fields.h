/* request_fields.h - fields by which a request asks for something else than its first line says. */
#pragma once

#include "daemon/egress/policy.h"
#include "net/h1.h"

/*
 * Servers and frameworks take another method or path from fields such as X-HTTP-Method-Override or X-Original-URL.
 * Why a rule that says something about methods or paths cannot let such a request pass, a static text; NULL: it
 * can.
 */
const char *request_fields_check(const struct egress_rule *rule, const struct h1_head *head);

/*
 * Whether its Upgrade fields, if there are any, name WebSocket and nothing else. What comes after a 101 passes
 * unread: a server that went over to HTTP/2 (h2c) would be asked for any host, method and path.
 */
bool request_fields_upgrade(const struct h1_head *head);
/* A field of a request that asks for another upgrade; without them it is an ordinary request. */
bool request_field_upgrades(struct str name);
