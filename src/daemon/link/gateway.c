/* gateway.c - bermd --edge: the order of its start, its signals, its end. As main.c, but with nothing to keep. */
#include "daemon/link/gateway.h"

#include "base/log.h"
#include "daemon/confine.h"
#include "daemon/link/gateway_internal.h"
#include "daemon/notify.h"

#include <signal.h>

/* --- as root --- */

static int start_as_root(struct gateway *gateway, struct berm_error *err)
{
    const struct config *config = gateway->config;
    int ruleset;

    launch_raise_fd_limit();
    gateway->manager_fd = notify_open();
    launch_find_user(config, &gateway->launch);
    if (edge_base_parse(config->edge_url, &gateway->base, err) < 0 ||
        listeners_open(&gateway->listeners, config, err) < 0 ||
        auth_load_file(&gateway->auth, config->keys_file, err) < 0 ||
        link_keys_load(&gateway->keys, config->edge_link_keys, err) < 0 ||
        link_helper_listen(config, &gateway->launch, &gateway->helper, err) < 0)
        return -1;
    ruleset = confine_prepare_edge(config, err);
    if (ruleset == -1 || launch_drop_privileges(&gateway->launch, err) < 0)
        return -1;
    if (ruleset >= 0)
        return confine_enter(ruleset, err);
    log_warn("confine.no_landlock", "consequence", "the edge's user is its only confinement");
    return 0;
}

/* --- unprivileged --- */

static int open_server(struct gateway *gateway, struct berm_error *err)
{
    const struct config *config = gateway->config;
    struct http_handler handler = gateway_handler;
    struct http_limits limits;

    http_limits_default(&limits);
    limits.max_body = config->max_body;
    limits.max_connections = (uint32_t)config->max_connections;
    limits.max_connections_peer = (uint32_t)config->max_connections_peer;
    handler.data = gateway;
    gateway->server = http_server_new(gateway->loop, &limits, &handler);
    if (!gateway->server)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "server");
    return listeners_serve(&gateway->listeners, gateway->server, gateway->loop, err);
}

static int start(struct gateway *gateway, struct berm_error *err)
{
    struct link_wire_events events = gateway_link_events;

    events.data = gateway;
    gateway->started_ms = clock_realtime_ms();
    if (trusted_proxies_parse(gateway->config, &gateway->proxies, err) < 0)
        return -1;
    gateway->wire = link_wire_new(gateway->loop, TAKE_FD(gateway->helper.fd), &events, err);
    if (!gateway->wire)
        return -1;
    listeners_announce(&gateway->listeners);
    return open_server(gateway, err);
}

/* --- signals and the end --- */

void gateway_maybe_stop(struct gateway *gateway)
{
    if (gateway->draining && gateway->server_idle && gateway->fars_open == 0)
        loop_stop(gateway->loop);
}

static void on_server_idle(void *data)
{
    struct gateway *gateway = data;

    gateway->server_idle = true;
    gateway_maybe_stop(gateway);
}

static void on_drain_timeout(struct loop_timer *timer)
{
    log_warn("drain.timeout");
    loop_stop(container_of(timer, struct gateway, drain_timer)->loop);
}

static void drain(struct gateway *gateway)
{
    if (gateway->draining) { /* asked twice: at once */
        loop_stop(gateway->loop);
        return;
    }
    log_info("draining");
    notify_stopping(gateway->manager_fd, gateway->config->drain_timeout_ms);
    gateway->draining = true;
    loop_timer_start(gateway->loop, &gateway->drain_timer, gateway->config->drain_timeout_ms);
    gateway_drain_links(gateway);
    http_server_drain(gateway->server, on_server_idle, gateway);
}

static void reload(struct gateway *gateway)
{
    const struct config *config = gateway->config;
    struct berm_error err;

    if (auth_load_file(&gateway->auth, config->keys_file, &err) < 0 ||
        link_keys_load(&gateway->keys, config->edge_link_keys, &err) < 0)
        log_error("keys.reload_failed", "error", err.message, "consequence", "the keys stay as they were");
    else
        log_info("keys.reloaded", "keys", log_num((long long)gateway->auth.filed_count), "daemons",
                 log_num((long long)gateway->keys.count));
    gateway_keys_changed(gateway);
    listeners_check_certificates(&gateway->listeners);
    link_helper_reload(&gateway->helper);
}

static void on_signal(struct loop *loop, const struct signalfd_siginfo *info, void *data)
{
    (void)loop;
    if (info->ssi_signo == SIGHUP)
        reload(data);
    else
        drain(data);
}

static int catch_signals(struct gateway *gateway, struct berm_error *err)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    loop_timer_init(&gateway->drain_timer, on_drain_timeout);
    if (loop_signals(gateway->loop, &signals, on_signal, gateway) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "signals");
    return 0;
}

static void end(struct gateway *gateway)
{
    http_server_free(gateway->server);
    listeners_free(&gateway->listeners);
    passages_free(&gateway->passages);
    gateway_free_links(gateway);
    link_wire_free(gateway->wire);
    link_helper_wait(&gateway->helper);
    loop_timer_stop(gateway->loop, &gateway->drain_timer);
    loop_flush_deferred(gateway->loop);
    hash_free(&gateway->by_name);
    link_keys_free(&gateway->keys);
    auth_free(&gateway->auth);
    loop_free(gateway->loop);
}

static int run(struct gateway *gateway, struct berm_error *err)
{
    int rc = -1;

    if (start_as_root(gateway, err) < 0)
        return -1;
    gateway->loop = loop_new();
    if (!gateway->loop)
        return berm_fail(err, BERM_E_SYSTEM, errno, "event loop");
    if (catch_signals(gateway, err) == 0 && start(gateway, err) == 0) {
        notify_tell(gateway->manager_fd, NOTIFY_READY);
        rc = loop_run(gateway->loop);
        if (rc < 0)
            berm_fail(err, BERM_E_SYSTEM, errno, "event loop");
        else if (gateway->failed)
            rc = berm_fail(err, BERM_E_LINK_DOWN, 0, "berm-link is gone");
    }
    end(gateway);
    return rc;
}

int gateway_run(const struct config *config)
{
    static struct gateway gateway;
    struct berm_error err = { 0 };
    int rc;

    gateway.config = config;
    gateway.helper.fd = -EBADF;
    list_init(&gateway.fars);
    passages_init(&gateway.passages, (uint32_t)config->max_connections, (uint32_t)config->max_connections_peer);
    rc = run(&gateway, &err);
    close_fd(&gateway.manager_fd);
    if (rc < 0) {
        log_error("failed", "error", err.message);
        return EXIT_FAILURE;
    }
    log_info("stopped");
    return EXIT_SUCCESS;
}
