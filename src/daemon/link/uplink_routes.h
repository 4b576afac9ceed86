/* uplink_routes.h - what the edge asks over a link, see uplink.h. */
#pragma once

#include "daemon/api/api.h"
#include "daemon/link/control.h"
#include "daemon/link/uplink.h"

/* Answers a request of the edge's own. */
void uplink_answer(struct request *request);

/* For uplink_routes.c. */
const char *uplink_key(const struct uplink *uplink);
unsigned uplink_links(const struct uplink *uplink); /* that are up */
int uplink_rename(struct uplink *uplink, const char *name, const char *url, struct berm_error *err);
void uplink_was_refused(struct uplink *uplink, struct str reason);
