/* egress.c - the service, and an egress: sockets, policy, counters, the log of denials. */
#include "daemon/egress/internal.h"

#include "base/base64.h"
#include "base/desk.h"
#include "base/sys.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>

#define ACCEPT_PAUSE_MS         100
#define ACCEPTS_AT_ONCE         16
#define IDLE_CHECK_MS           5000
#define DNS_PORT                53

#define PROXY_AUTHORIZATION_MAX 512

/* --- the service --- */

static int take_cidrs(const struct config_list *list, const char *option, struct cidr *ret, size_t *ret_count,
                      struct berm_error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (cidr_parse(str_from(list->items[i]), &ret[i]) < 0)
            return berm_fail_field(err, option, "%s: \"%s\" is not a range such as 10.0.0.0/8", option,
                                   list->items[i]);
    *ret_count = list->count;
    return 0;
}

static int make_default_policy(struct egress_service *service, const char *mode, struct berm_error *err)
{
    const struct json *body;
    struct arena arena;
    char text[32];
    int rc;

    snprintf(text, sizeof(text), "{\"mode\":\"%s\"}", mode);
    arena_init(&arena, 4096);
    rc = json_parse(&arena, str_from(text), 4, &body, err);
    if (rc == 0)
        rc = egress_policy_new(body, &service->ceiling, &service->policy, err);
    arena_free(&arena);
    return rc;
}

static int take_proxy(struct egress_service *service, const char *text, struct berm_error *err)
{
    const char *colon = text ? strrchr(text, ':') : NULL;
    struct str host = { text, colon ? (size_t)(colon - text) : 0 };
    uint64_t port;

    if (!text)
        return 0;
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){ host.p + 1, host.n - 2 };
    if (!colon || str_to_u64(str_from(colon + 1), &port) < 0 || port == 0 || port > UINT16_MAX ||
        ip_parse(host, &service->proxy_ip) < 0)
        return berm_fail_field(err, "egress.proxy", "egress.proxy: \"%s\" is not IP:PORT", text);
    service->proxy_port = (uint16_t)port;
    return 0;
}

/* "user:password" and perhaps a line's end, as the value of Proxy-Authorization. */
static int take_proxy_authorization(struct egress_service *service, const char *path, struct berm_error *err)
{
    char text[PROXY_AUTHORIZATION_MAX], encoded[BASE64_ENCODED_SIZE(sizeof(text)) + 1];
    ssize_t n = path ? read_small_file(AT_FDCWD, path, text, sizeof(text)) : 0;
    struct str said;

    if (!path)
        return 0;
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "egress.proxy_authorization: %s", path);
    said = str_from(text);
    said.n = strcspn(text, "\r\n");
    if (!memchr(said.p, ':', said.n))
        return berm_fail_field(err, "egress.proxy_authorization", "%s must hold USER:PASSWORD", path);
    encoded[base64_encode(said.p, said.n, encoded)] = '\0';
    if (asprintf(&service->proxy_authorization, "Basic %s", encoded) < 0)
        service->proxy_authorization = NULL;
    explicit_bzero(text, sizeof(text));
    return service->proxy_authorization ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "egress");
}

/* A connection takes two descriptors; half of all may go there. */
static uint64_t most_open(void)
{
    struct rlimit files;

    return getrlimit(RLIMIT_NOFILE, &files) < 0 ? 256 : MAX((uint64_t)files.rlim_cur / 4, (uint64_t)1);
}

int egress_service_new(const struct config *config, struct egress_service **ret, struct berm_error *err)
{
    struct egress_service *service = calloc(1, sizeof(*service));

    if (!service)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "egress");
    service->ceiling.allow = service->allow;
    service->ceiling.deny = service->deny;
    service->ceiling.secrets = &service->secrets;
    service->max_open = most_open();
    service->max_connections = config->egress_max_connections;
    service->connect_timeout_ms = config->egress_connect_timeout_ms;
    service->idle_timeout_ms = config->egress_idle_timeout_ms;
    if (take_cidrs(&config->egress_allow_cidrs, "egress.allow_cidrs", service->allow, &service->ceiling.allow_count,
                   err) == 0 &&
        take_cidrs(&config->egress_deny_cidrs, "egress.deny_cidrs", service->deny, &service->ceiling.deny_count,
                   err) == 0 &&
        make_default_policy(service, config->egress_mode, err) == 0 &&
        take_proxy(service, config->egress_proxy, err) == 0 &&
        take_proxy_authorization(service, config->egress_proxy_authorization, err) == 0 &&
        tls_ends_new(config->egress_ca_file, &service->tls, err) == 0 &&
        egress_resolver_new(config->egress_resolvers, &service->resolver, err) == 0) {
        *ret = service;
        return 0;
    }
    egress_service_free(service);
    return -1;
}

void egress_service_start(struct egress_service *service, struct loop *loop)
{
    service->loop = loop;
    turns_init(&service->handshakes, loop);
    egress_resolver_start(service->resolver, loop);
}

void egress_service_free(struct egress_service *service)
{
    if (!service)
        return;
    if (service->loop)
        turns_fini(&service->handshakes);
    egress_resolver_free(service->resolver);
    egress_policy_unref(service->policy);
    tls_ends_free(service->tls);
    secrets_free(&service->secrets);
    free(service->proxy_authorization);
    free(service);
}

struct secrets *egress_service_secrets(struct egress_service *service)
{
    return &service->secrets;
}

const struct egress_ceiling *egress_service_ceiling(const struct egress_service *service)
{
    return &service->ceiling;
}

struct egress_policy *egress_service_policy(const struct egress_service *service)
{
    return service->policy;
}

const struct egress_totals *egress_service_totals(const struct egress_service *service)
{
    return &service->totals;
}

/* --- accepting --- */

/* Down for a moment: out of descriptors, or as many connections as there may be. They wait in the backlog. */
static void pause_accepting(struct egress *egress)
{
    loop_io_remove(egress->service->loop, &egress->tcp_io);
    loop_timer_start(egress->service->loop, &egress->accept_timer, ACCEPT_PAUSE_MS);
}

static bool goes_to_desk(const struct egress *egress, const struct ip *ip, uint16_t port)
{
    struct ip desk;

    return egress->take_desk && port == DESK_PORT && ip_parse(STR(DESK_ADDRESS), &desk) == 0 && ip_equal(ip, &desk);
}

/* What is served here, whatever the policy, and what leads outside. */
static void begin(struct egress *egress, int fd)
{
    struct sockaddr_storage to;
    socklen_t size = sizeof(to);
    struct ip ip;
    uint16_t port;

    if (getsockname(fd, (struct sockaddr *)&to, &size) < 0 || ip_from_sockaddr(&to, &ip, &port) < 0)
        close(fd);
    else if (port == DNS_PORT)
        dns_stub_start_stream(egress, fd);
    else if (goes_to_desk(egress, &ip, port))
        egress->take_desk(fd, egress->desk_data);
    else
        connection_start(egress, fd, &ip, port);
}

static void on_accept(struct loop_io *io, uint32_t events)
{
    struct egress *egress = container_of(io, struct egress, tcp_io);

    (void)events;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd;

        if (egress->connection_count >= egress->service->max_connections ||
            egress->service->totals.open >= egress->service->max_open) {
            pause_accepting(egress);
            return;
        }
        fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            if (errno != EAGAIN)
                pause_accepting(egress);
            return;
        }
        begin(egress, fd);
    }
}

static void on_accept_timer(struct loop_timer *timer)
{
    struct egress *egress = container_of(timer, struct egress, accept_timer);
    int fd = egress->tcp_io.fd;

    if (fd >= 0 && loop_io_add(egress->service->loop, &egress->tcp_io, fd, EPOLLIN, on_accept) < 0)
        loop_timer_start(egress->service->loop, timer, ACCEPT_PAUSE_MS);
}

/* --- an egress --- */

static void on_idle_timer(struct loop_timer *timer)
{
    struct egress *egress = container_of(timer, struct egress, idle_timer);
    struct list *next;

    for (struct list *node = egress->connections.next; node != &egress->connections; node = next) {
        next = node->next;
        connection_check_idle(connection_of(node), loop_now_ms(egress->service->loop));
    }
    loop_timer_start(egress->service->loop, timer, IDLE_CHECK_MS);
}

struct egress *egress_new(struct egress_service *service, struct egress_policy *policy)
{
    struct egress *egress = calloc(1, sizeof(*egress));

    if (!egress)
        return NULL;
    egress->service = service;
    egress->policy = egress_policy_ref(policy);
    egress->tcp_io.fd = egress->udp_io.fd = -EBADF;
    list_init(&egress->connections);
    list_init(&egress->exchanges);
    turn_owner_init(&egress->handshakes);
    loop_timer_init(&egress->accept_timer, on_accept_timer);
    loop_timer_init(&egress->idle_timer, on_idle_timer);
    return egress;
}

static void close_sockets(struct egress *egress)
{
    struct loop_io *ios[] = { &egress->tcp_io, &egress->udp_io };

    loop_timer_stop(egress->service->loop, &egress->accept_timer);
    for (size_t i = 0; i < ARRAY_SIZE(ios); i++) {
        int fd = ios[i]->fd;

        loop_io_remove(egress->service->loop, ios[i]);
        close_fd(&fd);
        ios[i]->fd = -EBADF;
    }
}

void egress_free(struct egress *egress)
{
    if (!egress)
        return;
    close_sockets(egress);
    loop_timer_stop(egress->service->loop, &egress->idle_timer);
    while (!list_empty(&egress->connections))
        connection_end(connection_of(egress->connections.next));
    turn_owner_fini(&egress->handshakes);
    dns_stub_end_all(egress);
    interceptor_clear(egress);
    egress_policy_unref(egress->policy);
    authority_unref(egress->authority);
    free(egress->log);
    free(egress);
}

/* Where a question went is told beside it; a socket without IPv6 has the other option. */
static int want_destinations(int udp_fd)
{
    const int on = 1;

    if (setsockopt(udp_fd, SOL_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0)
        return 0;
    return setsockopt(udp_fd, SOL_IP, IP_PKTINFO, &on, sizeof(on));
}

int egress_set_sockets(struct egress *egress, int tcp_fd, int udp_fd)
{
    struct loop *loop = egress->service->loop;

    close_sockets(egress);
    egress->tcp_io.fd = tcp_fd;
    egress->udp_io.fd = udp_fd;
    if (want_destinations(udp_fd) == 0 && loop_io_add(loop, &egress->tcp_io, tcp_fd, EPOLLIN, on_accept) == 0 &&
        loop_io_add(loop, &egress->udp_io, udp_fd, EPOLLIN, dns_stub_on_datagram) == 0) {
        loop_timer_start(loop, &egress->idle_timer, IDLE_CHECK_MS);
        return 0;
    }
    close_sockets(egress);
    return -1;
}

bool egress_is_up(const struct egress *egress)
{
    return egress->tcp_io.fd >= 0;
}

void egress_set_policy(struct egress *egress, struct egress_policy *policy)
{
    struct list *next;

    egress_policy_ref(policy);
    egress_policy_unref(egress->policy);
    egress->policy = policy;
    for (struct list *node = egress->connections.next; node != &egress->connections; node = next) {
        next = node->next;
        connection_check_policy(connection_of(node));
    }
}

void egress_set_desk(struct egress *egress, void (*take)(int fd, void *data), void *data)
{
    egress->take_desk = take;
    egress->desk_data = data;
}

void egress_set_authority(struct egress *egress, struct authority *authority)
{
    authority_ref(authority);
    authority_unref(egress->authority);
    egress->authority = authority;
}

const struct authority *egress_authority(const struct egress *egress)
{
    return egress->authority;
}

/* --- what is told about it --- */

void egress_get_counters(const struct egress *egress, struct egress_counters *ret)
{
    *ret = egress->counters;
    ret->open_connections = egress->connection_count;
    for (struct list *node = egress->connections.next; node != &egress->connections; node = node->next) {
        uint64_t out, in;

        connection_get_bytes(connection_of(node), &out, &in);
        ret->bytes_out += out;
        ret->bytes_in += in;
    }
}

void egress_log_denial(struct egress *egress, const char *what, const char *reason, struct str name,
                       const struct ip *ip, uint16_t port)
{
    struct egress_denial *entry;

    if (!egress->log && !(egress->log = calloc(EGRESS_LOG_MAX, sizeof(*egress->log))))
        return;
    entry = &egress->log[egress->log_count++ % EGRESS_LOG_MAX];
    *entry = (struct egress_denial){ .time_ms = clock_realtime_ms(), .what = what, .reason = reason, .port = port };
    if (ip)
        entry->ip = *ip;
    str_copy(name, entry->name, sizeof(entry->name));
}

void egress_each_denial(const struct egress *egress, void (*each)(const struct egress_denial *, void *), void *data)
{
    size_t kept = MIN(egress->log_count, (size_t)EGRESS_LOG_MAX);

    for (size_t i = egress->log_count - kept; i < egress->log_count; i++)
        each(&egress->log[i % EGRESS_LOG_MAX], data);
}
