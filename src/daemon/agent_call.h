/* agent_call.h - one short call to the agent of a running instance, with a JSON body and an answer that is only
 * judged by its status. */
#pragma once

#include "daemon/agent_link.h"

struct agent_call;

/* Exactly once, unless cancelled: BERM_OK when the agent answered 2xx, else why not (its own message). */
typedef void (*agent_call_done)(const struct berm_error *err, void *data);

/* `body` n == 0: none. `environment` (or NULL) is told with it, see lifecycle_environment_told(). NULL with *err.
 */
struct agent_call *agent_call_start(struct agent_link *link, const char *method, const char *target,
                                    struct str body, const char *environment, agent_call_done done, void *data,
                                    struct berm_error *err);
/* Inside `done` only: the body of the answer, as much as was kept of it. Bytes from the sandbox. */
struct str agent_call_answer(const struct agent_call *call);
void agent_call_cancel(struct agent_call *call); /* NULL is allowed */
