/*
 * main.c - bermd: the order of its start, its signals, its end.
 *
 * As root: settings, listeners (ports below 1024), directories and the lock, keys, berm-spawn. Then root is given
 * up for good, and only after that is anything opened that clients or sandboxes have a hand in.
 */
#include "base/fault.h"
#include "base/log.h"
#include "base/standard_fds.h"
#include "base/sys.h"
#include "daemon/adopt.h"
#include "daemon/api/api.h"
#include "daemon/api/once.h"
#include "daemon/api/passage.h"
#include "daemon/confine.h"
#include "daemon/docker/docker.h"
#include "daemon/edge/routes.h"
#include "daemon/event_feed.h"
#include "daemon/launch.h"
#include "daemon/lifecycle.h"
#include "daemon/link/connector.h"
#include "daemon/link/gateway.h"
#include "daemon/link/uplink.h"
#include "daemon/listen.h"
#include "daemon/mcp/mcp.h"
#include "daemon/notify.h"
#include "daemon/pool.h"
#include "daemon/sandbox_egress.h"
#include "daemon/secret_store.h"

#include <signal.h>

#define EXIT_USAGE    2
#define LAST_WORDS_MS 1000 /* for what streams are told at the drain timeout */

extern char **environ;

struct program {
    struct daemon daemon;
    struct launch launch;
    struct uplink_start uplink;
    struct connector_start connector;
    struct listeners listeners;
    int docker_listener; /* -EBADF: none */
    int manager_fd;      /* of services, who is told; -EBADF: none */
    struct loop_timer drain_timer;
    unsigned draining; /* servers that are not idle yet */
    bool timed_out;    /* while draining */
    bool failed;       /* the exit status */
};

/* --- as root --- */

static int open_docker_listener(struct program *program, struct berm_error *err)
{
    const struct config *config = &program->daemon.config;

    program->docker_listener = -EBADF;
    if (config->docker_socket)
        program->docker_listener = docker_listen(config, err);
    return config->docker_socket && program->docker_listener < 0 ? -1 : 0;
}

static int start_as_root(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;

    int ruleset;

    launch_raise_fd_limit();
    program->manager_fd = notify_open();
    if (listeners_open(&program->listeners, &daemon->config, err) < 0 || open_docker_listener(program, err) < 0 ||
        launch_prepare(&daemon->config, &program->launch, err) < 0 ||
        auth_load_file(&daemon->auth, daemon->config.keys_file, err) < 0 ||
        bindings_load_file(&daemon->bindings, daemon->config.bindings_file, err) < 0 ||
        launch_spawner(&daemon->config, &program->launch, err) < 0 ||
        uplink_prepare(&daemon->config, &program->uplink, err) < 0 ||
        connector_prepare(&daemon->config, &program->connector, err) < 0)
        return -1;
    if (!strcmp(daemon->config.egress_enabled, "yes") &&
        egress_service_new(&daemon->config, &daemon->egress, err) < 0)
        return -1;
    ruleset = confine_prepare(&daemon->config, err);
    if (ruleset == -1 || launch_drop_privileges(&program->launch, err) < 0)
        return -1;
    if (ruleset >= 0)
        return confine_enter(ruleset, err);
    log_warn("confine.no_landlock", "consequence", "the daemon's user is its only confinement");
    return 0;
}

/* --- unprivileged --- */

static int load_sandbox(struct sandbox_row *row, void *data)
{
    return lifecycle_load(data, row);
}

static int load_pooled(uint64_t key, const uint8_t digest[32], void *data)
{
    struct daemon *daemon = data;

    return pool_load(daemon->pool, key, digest);
}

static int open_store(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;

    if (store_open_at(program->launch.state_dirfd, "berm.db", &daemon->store, err) < 0)
        return berm_error_wrap(err, "uid %u must be able to write in %s/state", (unsigned)geteuid(),
                               daemon->config.data);
    if (auth_load_store(&daemon->auth, daemon->store, err) < 0 ||
        store_each_sandbox(daemon->store, load_sandbox, daemon, err) < 0 ||
        store_each_pool(daemon->store, load_pooled, daemon, err) < 0)
        return -1;
    return daemon->egress ? secret_store_load(daemon, err) : 0;
}

static void take_settings(struct daemon *daemon)
{
    const struct config *config = &daemon->config;

    daemon->default_limits = (struct spawn_limits){ .memory_bytes = config->memory,
                                                    .disk_bytes = config->disk,
                                                    .cpu_millis = (uint32_t)config->cpu,
                                                    .pids = (uint32_t)config->pids,
                                                    .nofile = (uint32_t)config->nofile };
    daemon->backend = strncmp(config->runtime, "oci:", 4) ? SPAWN_BACKEND_NATIVE : SPAWN_BACKEND_OCI;
    daemon->metrics.started_ms = clock_realtime_ms();
    random_bytes(&daemon->request_seed, sizeof(daemon->request_seed));
}

/* Before the server takes the listeners over. */
static int open_edge(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;
    const char *url = daemon->config.edge_url;
    char local[64];

    if (!url) {
        snprintf(local, sizeof(local), "http://localhost:%d", socket_port(program->listeners.plain[0]));
        url = local;
    }
    daemon->edge = edge_new(daemon, url, err);
    return daemon->edge ? 0 : berm_error_wrap(err, "edge.url");
}

static int open_server(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;
    struct http_handler handler = api_handler;
    struct http_limits limits;

    http_limits_default(&limits);
    limits.max_body = daemon->config.max_body;
    limits.max_connections = (uint32_t)daemon->config.max_connections;
    limits.max_connections_peer = (uint32_t)daemon->config.max_connections_peer;
    handler.data = daemon;
    daemon->high_water = limits.high_water;
    daemon->server = http_server_new(daemon->loop, &limits, &handler);
    if (!daemon->server || mcp_init(daemon) < 0 || once_init(daemon) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "server");
    return listeners_serve(&program->listeners, daemon->server, daemon->loop, err);
}

static int open_docker(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;

    if (program->docker_listener < 0)
        return 0;
    daemon->docker = docker_new(daemon, TAKE_FD(program->docker_listener), err);
    if (!daemon->docker)
        return -1;
    log_info("docker.listening", "socket", daemon->config.docker_socket);
    return 0;
}

static int start(struct program *program, struct berm_error *err)
{
    struct daemon *daemon = &program->daemon;
    struct spawn_link_events events = adopt_events;

    events.data = daemon;
    take_settings(daemon);
    daemon->run_dirfd = program->launch.run_dirfd;
    daemon->images = image_cache_new(daemon->loop, program->launch.images_dirfd, err);
    if (!daemon->images)
        return -1;
    daemon->spawn = spawn_link_new(daemon->loop, TAKE_FD(program->launch.spawn_fd),
                                   (uint32_t)daemon->config.start_timeout_ms, &events, err);
    if (!daemon->spawn || pool_new(daemon, &daemon->pool, err) < 0 || open_store(program, err) < 0)
        return -1;
    listeners_announce(&program->listeners);
    if (trusted_proxies_parse(&daemon->config, &daemon->proxies, err) < 0 || open_edge(program, err) < 0 ||
        open_server(program, err) < 0 || open_docker(program, err) < 0 ||
        uplink_new(daemon, &program->uplink, &daemon->uplink, err) < 0 ||
        connector_new(daemon, &program->connector, &daemon->connector, err) < 0)
        return -1;
    if (!auth_has_keys(&daemon->auth))
        log_warn("auth.no_keys", "consequence", "only loopback is served");
    lifecycle_init(daemon);
    if (daemon->egress)
        egress_service_start(daemon->egress, daemon->loop);
    adopt_init(daemon);
    return 0;
}

/* --- signals and the end --- */

static void on_drained(void *data)
{
    struct program *program = data;

    if (--program->draining == 0)
        loop_stop(program->daemon.loop);
}

static void on_drain_timeout(struct loop_timer *timer)
{
    struct program *program = container_of(timer, struct program, drain_timer);

    if (program->timed_out) {
        loop_stop(program->daemon.loop);
        return;
    }
    program->timed_out = true;
    log_warn("drain.timeout");
    api_stop_streams(&program->daemon); /* on_drained() comes when that is sent, if nothing else is left */
    loop_timer_start(program->daemon.loop, timer, LAST_WORDS_MS);
}

static void drain(struct program *program)
{
    struct daemon *daemon = &program->daemon;

    if (daemon->draining) { /* asked twice: at once */
        loop_stop(daemon->loop);
        return;
    }
    log_info("draining");
    notify_stopping(program->manager_fd, daemon->config.drain_timeout_ms);
    daemon->draining = true;
    loop_timer_start(daemon->loop, &program->drain_timer, daemon->config.drain_timeout_ms);
    docker_drain(daemon->docker);
    feed_end(daemon);
    program->draining = 1u + (daemon->uplink != NULL) + (daemon->connector != NULL);
    if (daemon->uplink)
        uplink_drain(daemon->uplink, on_drained, program);
    if (daemon->connector)
        connector_drain(daemon->connector, on_drained, program);
    http_server_drain(daemon->server, on_drained, program);
}

static void reload_keys(struct daemon *daemon)
{
    struct berm_error err;

    if (auth_load_file(&daemon->auth, daemon->config.keys_file, &err) < 0)
        log_error("keys.reload_failed", "error", err.message, "consequence", "the keys stay as they were");
    else
        log_info("keys.reloaded", "keys", log_num((long long)daemon->auth.filed_count));
}

static void reload_bindings(struct daemon *daemon)
{
    struct berm_error err;

    if (!daemon->config.bindings_file)
        return;
    if (bindings_load_file(&daemon->bindings, daemon->config.bindings_file, &err) < 0)
        log_error("bindings.reload_failed", "error", err.message, "consequence", "the bindings stay as they were");
    else
        log_info("bindings.reloaded", "bindings", log_num((long long)daemon->bindings.count));
}

static void on_signal(struct loop *loop, const struct signalfd_siginfo *info, void *data)
{
    struct program *program = data;

    (void)loop;
    if (info->ssi_signo != SIGHUP) {
        drain(program);
        return;
    }
    reload_keys(&program->daemon);
    reload_bindings(&program->daemon);
    listeners_check_certificates(&program->listeners);
}

static int catch_signals(struct program *program, struct berm_error *err)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    loop_timer_init(&program->drain_timer, on_drain_timeout);
    if (loop_signals(program->daemon.loop, &signals, on_signal, program) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "signals");
    return 0;
}

static void drop_networks(struct daemon *daemon)
{
    struct list *sandboxes = &daemon->registry.order;

    if (!daemon->spawn) /* it has not come so far */
        return;
    for (struct list *node = sandboxes->next; node != sandboxes; node = node->next)
        instance_drop_egress(daemon, &container_of(node, struct sandbox, order)->instance);
}

/* Sandboxes live on. */
static void end(struct program *program)
{
    struct daemon *daemon = &program->daemon;

    http_server_free(daemon->server);
    uplink_free(daemon->uplink);
    connector_free(TAKE_PTR(daemon->connector));
    listeners_free(&program->listeners);
    mcp_free(daemon);
    once_free(daemon);
    docker_free(daemon->docker);
    passages_free(&daemon->passages);
    if (daemon->store)
        lifecycle_flush_touched(daemon);
    pool_free(daemon->pool);
    drop_networks(daemon);
    registry_free(&daemon->registry);
    loop_timer_stop(daemon->loop, &daemon->touch_timer);
    loop_timer_stop(daemon->loop, &daemon->adoption_timer);
    loop_timer_stop(daemon->loop, &program->drain_timer);
    loop_flush_deferred(daemon->loop); /* memory of requests and links goes there */
    egress_service_free(daemon->egress);
    spawn_link_free(daemon->spawn);
    image_cache_free(daemon->images);
    edge_free(daemon->edge);
    store_close(daemon->store);
    auth_free(&daemon->auth);
    bindings_free(&daemon->bindings);
    launch_wait(program->launch.spawn_pid);
}

static int run(struct program *program)
{
    struct daemon *daemon = &program->daemon;
    struct berm_error err = { 0 };
    int rc = -1;

    if (start_as_root(program, &err) < 0)
        goto out;
    daemon->loop = loop_new();
    if (!daemon->loop) {
        berm_fail(&err, BERM_E_SYSTEM, errno, "event loop");
        goto out;
    }
    if (catch_signals(program, &err) == 0 && start(program, &err) == 0) {
        notify_tell(program->manager_fd, NOTIFY_READY);
        rc = loop_run(daemon->loop);
        if (rc < 0)
            berm_fail(&err, BERM_E_SYSTEM, errno, "event loop");
        else if (!spawn_link_alive(daemon->spawn))
            rc = berm_fail(&err, BERM_E_SPAWNER_UNAVAILABLE, 0, "berm-spawn is gone");
    }
    end(program);
    loop_free(daemon->loop);
out:
    close_fd(&program->manager_fd);
    if (rc < 0)
        log_error("failed", "error", err.message);
    else
        log_info("stopped");
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static enum log_level level_of(const char *name)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    size_t i = 0;

    while (i + 1 < ARRAY_SIZE(names) && strcmp(names[i], name))
        i++;
    return (enum log_level)i;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct config *config = &program.daemon.config;
    enum config_action action;
    struct berm_error err;
    int status = EXIT_SUCCESS;

    if (open_standard_fds() < 0)
        return EXIT_FAILURE;
    fault_setup();
    if (config_load(argc, argv, environ, config, &action, &err) < 0) {
        fprintf(stderr, "bermd: %s\n", err.message);
        return EXIT_USAGE;
    }
    log_setup("bermd", level_of(config->log_level), !strcmp(config->log_format, "json"));
    passages_init(&program.daemon.passages, (uint32_t)config->max_connections,
                  (uint32_t)config->max_connections_peer);
    registry_init(&program.daemon.registry);
    list_init(&program.daemon.streams);
    list_init(&program.daemon.event_listeners);
    switch (action) {
    case CONFIG_HELP:
        config_help(stdout);
        break;
    case CONFIG_VERSION:
        puts("bermd " BERM_VERSION);
        break;
    case CONFIG_PRINT:
        config_print(config, stdout);
        break;
    case CONFIG_CHECK:
        puts("the settings are good");
        break;
    case CONFIG_STOP_ALL:
        status = launch_stop_all(config);
        break;
    case CONFIG_RUN:
        status = run(&program);
        break;
    case CONFIG_EDGE:
        status = gateway_run(config);
        break;
    }
    config_free(config);
    return status;
}
