/* agent_configure.h - tells an agent the environment of everything that is started later. */
#pragma once

#include "daemon/agent_link.h"
#include "daemon/image_cache.h"

/*
 * POST /berm/v1/configure with the image's environment and, over it, `env` (a JSON object, NULL for none), and with
 * the certificate (PEM) of an authority that everything inside is to trust (n == 0: none). `done` comes exactly
 * once and later, unless NULL is returned with *err or the call is cancelled with http_call_cancel().
 */
typedef void (*configure_done)(const struct berm_error *err, void *data);

struct http_call *agent_configure(struct agent_link *link, const struct image_entry *image, const char *env,
                                  struct str authority, configure_done done, void *data, struct berm_error *err);
void agent_configure_cancel(struct http_call *call);
/*
 * The same as the value of AGENT_ENVIRONMENT_FIELD, which saves the call: the caller's to free. NULL when it is too
 * long for that or memory is out.
 */
char *agent_environment(const struct image_entry *image, const char *env);
/* False: there is nothing to tell. */
bool agent_configure_needed(const struct image_entry *image, const char *env);
