/* routes.c - previews and tunnels. */
#include "call.h"

#include <stdio.h>

static const struct member members[] = {
    PORT(berm_route, port, "port"),
    NEEDED(berm_route, url, "url"),
    TEXT(berm_route, name, "name"),
    TEXT(berm_route, token, "token"),
    TEXT(berm_route, path, "path"),
    TEXT(berm_route, expires_at, "expiresAt"),
    TEXT(berm_route, id, "id"),
    TEXT(berm_route, hostname, "hostname"),
    TEXT(berm_route, created_at, "createdAt"),
    NO_MORE,
};

static const struct list_type previews = { members, sizeof(struct berm_route), "ports", NULL };
static const struct list_type tunnels = { members, sizeof(struct berm_route), "tunnels", NULL };

static char *port_target(const char *id, const char *what, uint16_t port, struct berm_problem *problem)
{
    char rest[32];

    snprintf(rest, sizeof(rest), "/%s/%u", what, port);
    return sandbox_target(id, rest, problem);
}

void berm_route_list_free(struct berm_route_list *list)
{
    any_list_free(list);
}

/* --- previews --- */

int berm_port_expose(struct berm_client *client, const char *id, const struct berm_expose *options,
                     struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    json_pair_int(&d.w, "port", options->port);
    document_text(&d, "name", options->name);
    document_text(&d, "token", options->token);
    if (options->expires_in_s) /* a negative one is for the daemon to refuse */
        json_pair_int(&d.w, "expiresIn", options->expires_in_s);
    if (document_end(&d, problem) < 0)
        return -1;
    return call_list(client, sandbox_target(id, "/ports", problem), &d.buf, &previews, true, (void **)ret_list,
                     problem);
}

int berm_port_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                   struct berm_problem *problem)
{
    return call_list(client, sandbox_target(id, "/ports", problem), NULL, &previews, false, (void **)ret_list,
                     problem);
}

int berm_port_unexpose(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem)
{
    return call_text(client, "DELETE", port_target(id, "ports", port, problem), NULL, NULL, problem);
}

/* --- tunnels --- */

int berm_tunnel_get(struct berm_client *client, const char *id, uint16_t port, const char *name,
                    struct berm_route_list **ret_list, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    document_text(&d, "name", name);
    if (document_end(&d, problem) < 0)
        return -1;
    return call_list(client, port_target(id, "tunnel", port, problem), &d.buf, &tunnels, true, (void **)ret_list,
                     problem);
}

int berm_tunnel_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                     struct berm_problem *problem)
{
    return call_list(client, sandbox_target(id, "/tunnels", problem), NULL, &tunnels, false, (void **)ret_list,
                     problem);
}

int berm_tunnel_destroy(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem)
{
    return call_text(client, "DELETE", port_target(id, "tunnel", port, problem), NULL, NULL, problem);
}
