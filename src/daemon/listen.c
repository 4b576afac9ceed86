#include "daemon/listen.h"

#include "base/log.h"
#include "net/h2.h"
#include "net/tls.h"

#define CHECK_MS 60000

static int open_list(const struct config_list *list, int *fds, size_t *count, struct berm_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        fds[i] = tcp_listen(list->items[i], err);
        if (fds[i] < 0)
            return -1;
        (*count)++;
    }
    return 0;
}

static int open_tls(struct listeners *listeners, struct berm_error *err)
{
    const struct config *config = listeners->config;
    struct tls_files files[CONFIG_MAX_LISTEN] = { 0 };

    if (config->tls_listen.count == 0)
        return 0;
    for (size_t i = 0; i < config->tls_certificate.count; i++) {
        files[i].certificate = config->tls_certificate.items[i];
        files[i].key = config->tls_key.count ? config->tls_key.items[i] : NULL;
    }
    listeners->tls = tls_new(files, config->tls_certificate.count, err);
    return listeners->tls ? 0 : -1;
}

int listeners_open(struct listeners *listeners, const struct config *config, struct berm_error *err)
{
    listeners->config = config;
    if (open_list(&config->listen, listeners->plain, &listeners->plain_count, err) < 0 ||
        open_list(&config->tls_listen, listeners->secure, &listeners->secure_count, err) < 0)
        return -1;
    return open_tls(listeners, err);
}

static void announce(const char *event, const char *scheme, const struct config *config, const char *listen, int fd)
{
    const char *colon = strrchr(listen, ':');
    char address[256];

    snprintf(address, sizeof(address), "%.*s:%d", colon ? (int)(colon - listen) : 0, listen, socket_port(fd));
    log_info(event, "address", address, "version", BERM_VERSION, "data", config->data, "uid", log_num(geteuid()));
    if (isatty(STDOUT_FILENO))
        printf("Berm is listening on %s://%s\n", scheme, address);
}

void listeners_announce(const struct listeners *listeners)
{
    const struct config *config = listeners->config;

    for (size_t i = 0; i < listeners->secure_count; i++)
        announce("tls.listening", "https", config, config->tls_listen.items[i], listeners->secure[i]);
    for (size_t i = 0; i < listeners->plain_count; i++)
        announce("listening", "http", config, config->listen.items[i], listeners->plain[i]);
    fflush(stdout);
}

/* --- certificates --- */

static void on_failed(const char *file, const struct berm_error *err)
{
    log_error("tls.reload_failed", "file", file, "error", err->message, "consequence",
              "the certificate stays as it was");
}

void listeners_check_certificates(struct listeners *listeners)
{
    size_t replaced = listeners->tls ? tls_reload(listeners->tls, on_failed) : 0;

    if (replaced > 0)
        log_info("tls.reloaded", "certificates", log_num((long long)replaced));
}

static void on_check(struct loop_timer *timer)
{
    struct listeners *listeners = container_of(timer, struct listeners, check_timer);

    listeners_check_certificates(listeners);
    loop_timer_start(listeners->loop, timer, CHECK_MS);
}

/* --- serving --- */

int listeners_serve(struct listeners *listeners, struct http_server *server, struct loop *loop,
                    struct berm_error *err)
{
    const struct config *config = listeners->config;

    http_server_enable_h2(server);
    for (size_t i = 0; i < listeners->plain_count; i++)
        if (http_server_listen_fd(server, TAKE_FD(listeners->plain[i])) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "serve %s", config->listen.items[i]);
    for (size_t i = 0; i < listeners->secure_count; i++)
        if (http_server_listen_tls(server, TAKE_FD(listeners->secure[i]), listeners->tls) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "serve %s", config->tls_listen.items[i]);
    listeners->loop = loop;
    loop_timer_init(&listeners->check_timer, on_check);
    if (listeners->tls && loop_timer_start(loop, &listeners->check_timer, CHECK_MS) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "timer");
    return 0;
}

void listeners_free(struct listeners *listeners)
{
    if (listeners->loop)
        loop_timer_stop(listeners->loop, &listeners->check_timer);
    tls_free(listeners->tls);
}
