#include "own_client.h"

#include "agent/agent.h"
#include "net/client.h"

struct http_client *own_client(struct agent *agent)
{
    if (!agent->own_client)
        agent->own_client = http_client_to_own(agent->loop, agent->server);
    return agent->own_client;
}
