/* engine.c - the Docker Engine API as a whole: its beginning and its end. */
#include "daemon/docker/engine.h"

#include "daemon/docker/outgoing.h"
#include "daemon/docker/tunnel.h"
#include "daemon/docker/volumes.h"
#include "daemon/egress/authority.h"

extern const struct http_handler docker_handler;

struct docker *docker_new(struct daemon *daemon, int listen_fd, struct berm_error *err)
{
    struct docker *docker = calloc(1, sizeof(*docker));
    struct http_handler handler = docker_handler;
    struct http_limits limits;

    if (!docker) {
        close(listen_fd);
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "Docker API");
        return NULL;
    }
    docker->daemon = daemon;
    docker->remove_ended.callback = container_remove_ended;
    list_init(&docker->containers);
    list_init(&docker->images);
    docker_commits_init(docker);
    list_init(&docker->volumes);
    list_init(&docker->volumes_making);
    list_init(&docker->execs);
    list_init(&docker->watchers);
    list_init(&docker->tunnels);
    http_limits_default(&limits);
    limits.max_body = daemon->config.max_body;
    limits.max_connections = (uint32_t)daemon->config.max_connections;
    handler.data = docker;
    docker->server = http_server_new(daemon->loop, &limits, &handler);
    if (!docker->server)
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "Docker API");
    else if (http_server_listen_fd(docker->server, listen_fd) < 0)
        berm_fail(err, BERM_E_SYSTEM, errno, "serve the docker socket");
    else if (docker_images_load(docker, err) == 0 && volumes_load(docker, err) == 0) {
        if (container_load_all(docker) == 0)
            return docker;
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "containers");
    }
    docker_free(docker);
    return NULL;
}

void docker_drain(struct docker *docker)
{
    if (docker)
        http_server_drain(docker->server, NULL, NULL);
}

void docker_free(struct docker *docker)
{
    if (!docker)
        return;
    http_server_free(docker->server);
    docker_execs_free(docker);
    tunnels_free(docker);
    while (!list_empty(&docker->containers))
        container_forget(container_of(docker->containers.next, struct container, node));
    docker_commits_free(docker);
    docker_images_free(docker);
    volumes_free(docker);
    authority_unref(docker->authority);
    loop_defer_cancel(docker->daemon->loop, &docker->remove_ended);
    docker->daemon->docker = NULL;
    free(docker);
}
