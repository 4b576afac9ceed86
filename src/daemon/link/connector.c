#include "daemon/link/connector_internal.h"

#include "base/cloudflared.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/api/request.h"
#include "daemon/edge/name.h"
#include "daemon/event_feed.h"

#include <fcntl.h>
#include <sys/socket.h>

#define MESSAGES_AT_ONCE 32
#define PAUSE_FIRST_MS   1000
#define PAUSE_MOST_MS    60000
#define STEADY_MS        60000

/* --- while root --- */

static int read_token(const char *path, char **ret, struct berm_error *err)
{
    char text[CONNECTOR_TEXT];
    ssize_t n = read_small_file(AT_FDCWD, path, text, sizeof(text));
    struct str token = { text, n < 0 ? 0 : strcspn(text, "\n") };
    bool clean = token.n >= 16 && token.n + 1 >= (size_t)n;

    for (size_t i = 0; i < token.n; i++)
        clean &= token.p[i] > ' ' && token.p[i] <= '~';
    *ret = clean ? str_dup(token) : NULL;
    explicit_bzero(text, sizeof(text));
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "edge.cloudflared_token: %s", path);
    return *ret ? 0
                : berm_fail(err, BERM_E_INVALID_REQUEST, 0, "edge.cloudflared_token: %s does not hold one token",
                            path);
}

int connector_prepare(const struct config *config, struct connector_start *ret, struct berm_error *err)
{
    *ret = (struct connector_start){ .helper.fd = -EBADF, .listener = -EBADF };
    if (strcmp(config->edge_connector, "cloudflared") != 0)
        return 0;
    if (config->edge_cloudflared_token && read_token(config->edge_cloudflared_token, &ret->token, err) < 0)
        return -1;
    ret->listener = tcp_listen("127.0.0.1:0", err);
    if (ret->listener < 0)
        return -1;
    return link_helper_connector(config, socket_port(ret->listener), &ret->helper, err);
}

/* --- berm-connector --- */

bool connector_alive(const struct connector *connector)
{
    return loop_io_active(&connector->wire);
}

static int transmit(struct connector *connector, const struct connector_message *message)
{
    if (!connector_alive(connector))
        return -1;
    if (send(connector->wire.fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*message))
        return 0;
    /* Messages are few: one that it does not take means that it does not read. Its end is told from the loop. */
    shutdown(connector->wire.fd, SHUT_RDWR);
    return -1;
}

uint32_t connector_start_run(struct connector *connector, const char *token)
{
    struct connector_message message = { .version = CONNECTOR_WIRE_VERSION,
                                         .type = CONNECTOR_START,
                                         .run = ++connector->last_run,
                                         .named = token != NULL };
    int rc;

    if (token)
        str_copy(str_from(token), message.text, sizeof(message.text));
    rc = transmit(connector, &message);
    explicit_bzero(message.text, sizeof(message.text));
    return rc < 0 ? 0 : message.run;
}

void connector_stop_run(struct connector *connector, uint32_t run)
{
    const struct connector_message message = { .version = CONNECTOR_WIRE_VERSION,
                                               .type = CONNECTOR_STOP,
                                               .run = run };

    (void)transmit(connector, &message);
}

static const char *words_for(enum connector_reason reason, int code, char *room, size_t size)
{
    switch (reason) {
    case CONNECTOR_STOPPED:
        return "it was stopped";
    case CONNECTOR_NOT_FOUND:
        return "there is no program cloudflared on this machine that may be run";
    case CONNECTOR_LATE:
        snprintf(room, size, "Timed out waiting for cloudflared to become ready after %dms", CLOUDFLARED_READY_MS);
        return room;
    case CONNECTOR_LIMITED:
        return "Cloudflare gives no more quick tunnels for a while (429 Too Many Requests)";
    case CONNECTOR_NO_RESOURCES:
        return "no process or memory for a cloudflared";
    case CONNECTOR_EXITED:
        break;
    }
    snprintf(room, size, "cloudflared exited (code=%d)", code);
    return room;
}

/* Who tries again waits, longer each time, until one has held for a while. */
void connector_failed(struct connector *connector, enum connector_reason reason, int code)
{
    uint64_t now = loop_now_ms(connector->daemon->loop);
    const char *words;
    char room[96];

    words = words_for(reason, code, room, sizeof(room));
    snprintf(connector->error, sizeof(connector->error), "%s", words);
    connector->missing = reason == CONNECTOR_NOT_FOUND;
    if (connector->steady_from_ms && now >= connector->steady_from_ms)
        connector->pause_ms = 0;
    connector->pause_ms =
        connector->pause_ms ? MIN(connector->pause_ms * 2, (uint32_t)PAUSE_MOST_MS) : PAUSE_FIRST_MS;
    connector->next_try_ms = now + connector->pause_ms;
    connector->steady_from_ms = 0;
}

/* --- the token's cloudflared --- */

static void tell(struct connector *connector, const char *event, const char *detail)
{
    connector->since_ms = clock_realtime_ms();
    feed_tell_daemon(connector->daemon, event, detail);
}

static void start_main(struct connector *connector)
{
    if (connector->token && !connector->main_run && !connector->draining)
        connector->main_run = connector_start_run(connector, connector->token);
}

static void on_retry(struct loop_timer *timer)
{
    start_main(container_of(timer, struct connector, retry));
}

static void main_is_ready(struct connector *connector)
{
    connector->main_ready = true;
    connector->links_total++;
    connector->error[0] = '\0';
    connector->steady_from_ms = loop_now_ms(connector->daemon->loop) + STEADY_MS;
    log_info("connector.up", "url", connector->daemon->config.edge_url);
    tell(connector, "link_up", "cloudflared");
}

static void main_has_ended(struct connector *connector, enum connector_reason reason, int code)
{
    bool was_ready = connector->main_ready;

    connector->main_run = 0;
    connector->main_ready = false;
    connector_failed(connector, reason, code);
    log_warn("connector.down", "reason", connector->error, "retry_ms", log_num(connector->pause_ms));
    if (was_ready)
        tell(connector, "link_down", connector->error);
    if (connector_alive(connector))
        loop_timer_start(connector->daemon->loop, &connector->retry, connector->pause_ms);
}

/* --- what berm-connector says --- */

/* Its keepers too, so nothing can start it again: what is asked of the daemon here needs no edge. */
static void lose_helper(struct connector *connector)
{
    int fd = connector->wire.fd;

    if (!connector_alive(connector))
        return;
    loop_io_remove(connector->daemon->loop, &connector->wire);
    close_fd(&fd);
    log_error("connector.broken", "reason", "berm-connector has ended", "consequence",
              "there are no tunnels through Cloudflare until bermd is restarted");
    quick_end_all(connector);
    loop_timer_stop(connector->daemon->loop, &connector->retry);
    if (connector->main_run)
        main_has_ended(connector, CONNECTOR_EXITED, -1);
    snprintf(connector->error, sizeof(connector->error), "berm-connector has ended");
    connector->since_ms = clock_realtime_ms();
}

static bool message_is_valid(const struct connector_message *message, ssize_t n)
{
    if (n != (ssize_t)sizeof(*message) || message->version != CONNECTOR_WIRE_VERSION || message->run == 0 ||
        !connector_text_ends(message))
        return false;
    if (message->type == CONNECTOR_READY)
        return message->text[0] == '\0' || cloudflared_label_valid(str_from(message->text));
    return message->type == CONNECTOR_ENDED && message->text[0] == '\0' && message->reason >= CONNECTOR_STOPPED &&
           message->reason <= CONNECTOR_NO_RESOURCES;
}

/* False: it makes no sense. */
static bool take_message(struct connector *connector, const struct connector_message *message)
{
    enum connector_reason reason = (enum connector_reason)message->reason;
    bool is_main = message->run == connector->main_run;

    if (message->type == CONNECTOR_READY) {
        if (!is_main)
            return message->text[0] && quick_ready(connector, message->run, message->text);
        if (message->text[0] || connector->main_ready)
            return false;
        main_is_ready(connector);
        return true;
    }
    /* The successor of a crashed worker may tell an end that had been told. */
    if (!is_main)
        return quick_ended(connector, message->run, reason, message->code) || message->run <= connector->last_run;
    main_has_ended(connector, reason, message->code);
    return true;
}

static void on_wire(struct loop_io *io, uint32_t events)
{
    struct connector *connector = container_of(io, struct connector, wire);
    struct connector_message message;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && connector_alive(connector); i++) {
        ssize_t n = recv(io->fd, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || !message_is_valid(&message, n) || !take_message(connector, &message)) {
            if (n > 0)
                log_error("connector.invalid_message", "bytes", log_num(n));
            lose_helper(connector);
        }
    }
}

/* --- the server for what comes from Cloudflare --- */

static void parse_own(const struct request *request, struct edge_name *ret)
{
    edge_name_parse(request->head->host, edge_domain(request->daemon->edge), ret);
}

static void parse_foreign(const struct request *request, struct edge_name *ret)
{
    *ret = (struct edge_name){ .kind = EDGE_NAME_NOBODY };
    if (edge_host_below(request->head->host, STR(CLOUDFLARED_DOMAIN), &ret->label) && ret->label.n) {
        ret->kind = EDGE_NAME_TUNNEL;
        ret->foreign = true;
    }
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct connector *connector = data;
    struct request *request = request_new(connector->daemon, exchange, head);

    if (!request) {
        http_respond(exchange, 500, NULL, STR("out of memory\n"));
        return;
    }
    request->parse_name = connector->token ? parse_own : parse_foreign;
    sender_find_linked(head, &request->sender);
    if (!request->sender.https_known)
        request->sender.https = request->sender.https_known = true; /* as all of Cloudflare's names are */
    edge_take_linked(request);
}

static int open_server(struct connector *connector, int listener, struct berm_error *err)
{
    const struct config *config = &connector->daemon->config;
    struct http_handler handler = { .on_request = on_request,
                                    .error_body = api_handler.error_body,
                                    .data = connector };
    struct http_limits limits;

    http_limits_default(&limits);
    limits.max_body = config->max_body;
    limits.max_connections = (uint32_t)config->max_connections;
    connector->server = http_server_new(connector->daemon->loop, &limits, &handler);
    if (connector->server && http_server_listen_fd(connector->server, listener) == 0)
        return 0;
    close_fd(&listener);
    return berm_fail(err, BERM_E_SYSTEM, errno, "server for cloudflared");
}

/* --- life --- */

int connector_new(struct daemon *daemon, struct connector_start *start, struct connector **ret,
                  struct berm_error *err)
{
    struct connector *connector;

    *ret = NULL;
    if (start->listener < 0)
        return 0;
    connector = calloc(1, sizeof(*connector));
    if (!connector)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "connector");
    connector->daemon = daemon;
    connector->token = TAKE_PTR(start->token);
    connector->helper = start->helper;
    connector->since_ms = clock_realtime_ms();
    list_init(&connector->quicks);
    loop_timer_init(&connector->retry, on_retry);
    if (loop_io_add(daemon->loop, &connector->wire, TAKE_FD(start->helper.fd), EPOLLIN, on_wire) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "connector");
        connector_free(connector);
        return -1;
    }
    if (open_server(connector, TAKE_FD(start->listener), err) < 0) {
        connector_free(connector);
        return -1;
    }
    *ret = connector;
    start_main(connector);
    return 0;
}

void connector_free(struct connector *connector)
{
    int fd;

    if (!connector)
        return;
    http_server_free(connector->server);
    connector->main_run = 0;
    quick_end_all(connector);
    loop_timer_stop(connector->daemon->loop, &connector->retry);
    if (connector_alive(connector)) {
        fd = connector->wire.fd;
        loop_io_remove(connector->daemon->loop, &connector->wire);
        close_fd(&fd);
    }
    link_helper_wait(&connector->helper);
    if (connector->token)
        explicit_bzero(connector->token, strlen(connector->token));
    free(connector->token);
    free(connector);
}

void connector_drain(struct connector *connector, void (*on_idle)(void *data), void *data)
{
    connector->draining = true;
    http_server_drain(connector->server, on_idle, data);
}

void connector_get_status(const struct connector *connector, struct connector_status *ret)
{
    bool up = connector->token ? connector->main_ready : connector_alive(connector);
    struct http_server_stats stats;

    http_server_stats(connector->server, &stats);
    *ret = (struct connector_status){
        .state = up                           ? "up"
                 : connector_alive(connector) ? "connecting"
                                              : "broken",
        .error = connector->error[0] ? connector->error : NULL,
        .processes = connector->quick_count + (connector->main_run != 0),
        .streams_open = stats.connections_open,
        .streams_total = stats.requests_total,
        .links_total = connector->links_total,
        .since_ms = connector->since_ms,
    };
}
