#include "daemon/agent_link.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/socket.h>

#define MOURN_MS             2000 /* pid 1 is gone only when all its processes are, which may hold much to free */
#define CONNECTIONS_IDLE_MAX 16

struct agent_link {
    struct loop *loop;
    unsigned refs;
    int run_dirfd;
    uint64_t patience_ms;
    uint64_t key;
    int64_t generation;
    struct http_client *client;
    struct port_link *ports;
    struct http_client *closing; /* freed in the deferred queue */
    struct port_link *closing_ports;
    struct loop_deferred deferred;
    bool closed;
    enum end_reason reason;
    int exit_status;
    struct list mourners;
};

/* The socket is never blocking: with a full backlog connect(2) says EAGAIN, and the call fails with that reason. */
static int connect_agent(void *data, struct berm_error *err)
{
    struct agent_link *link = data;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    socklen_t length;
    char name[32];

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    snprintf(name, sizeof(name), SPAWN_AGENT_SOCKET_FORMAT, (unsigned long long)link->key);
    if (unix_address_at(link->run_dirfd, name, &address, &length) < 0 ||
        connect(fd, (struct sockaddr *)&address, length) < 0)
        return berm_fail(err, BERM_E_EXEC_TRANSPORT_ERROR, errno, "connect to the sandbox's agent");
    socket_enlarge(fd);
    return TAKE_FD(fd);
}

static void free_ports(struct port_link *ports)
{
    while (ports) {
        struct port_link *next = port_link_next(ports);

        port_link_free(ports);
        ports = next;
    }
}

/* Callbacks come from freeing a client, and none may come before the caller is through. */
static void close_clients(struct agent_link *link)
{
    link->closing = TAKE_PTR(link->client);
    link->closing_ports = TAKE_PTR(link->ports);
    link->closed = true;
    loop_defer(link->loop, &link->deferred);
}

static void run_deferred(struct loop_deferred *deferred)
{
    struct agent_link *link = container_of(deferred, struct agent_link, deferred);
    struct http_client *client = TAKE_PTR(link->closing);
    struct list mourners;
    struct list *node;

    link->refs++; /* callbacks below may drop the last one */
    if (client)
        http_client_free(client);
    free_ports(TAKE_PTR(link->closing_ports));
    list_init(&mourners);
    list_splice(&mourners, &link->mourners);
    while ((node = list_shift(&mourners))) {
        struct agent_mourner *mourner = container_of(node, struct agent_mourner, node);

        loop_timer_stop(link->loop, &mourner->timer);
        mourner->link = NULL;
        mourner->done(mourner);
    }
    if (--link->refs == 0)
        free(link);
}

struct agent_link *agent_link_new(struct loop *loop, int run_dirfd, uint64_t patience_ms, uint64_t key,
                                  int64_t generation)
{
    struct agent_link *link = calloc(1, sizeof(*link));
    struct http_client_config config = { .connect = connect_agent,
                                         .data = link,
                                         .max_idle = CONNECTIONS_IDLE_MAX,
                                         .idle_timeout_ms = 60000,
                                         .head_timeout_ms = 0, /* routes have their own deadlines */
                                         .high_water = 256 * 1024 };

    if (!link)
        return NULL;
    link->loop = loop;
    link->refs = 1;
    link->run_dirfd = run_dirfd;
    link->patience_ms = patience_ms;
    link->key = key;
    link->generation = generation;
    link->deferred.callback = run_deferred;
    list_init(&link->mourners);
    link->client = http_client_new(loop, &config);
    if (!link->client) {
        free(link);
        return NULL;
    }
    return link;
}

struct agent_link *agent_link_ref(struct agent_link *link)
{
    link->refs++;
    return link;
}

void agent_link_unref(struct agent_link *link)
{
    if (!link || --link->refs > 0)
        return;
    /* The deferred queue may still point here, and a client must not be freed inside a callback of its own. */
    link->refs = 0;
    if (link->client)
        close_clients(link);
    else if (!link->deferred.queued)
        free(link);
}

struct loop *agent_link_loop(const struct agent_link *link)
{
    return link->loop;
}

uint64_t agent_link_patience_ms(const struct agent_link *link)
{
    return link->patience_ms;
}

struct http_client *agent_link_client(struct agent_link *link)
{
    return link->client;
}

struct port_link *agent_link_port(struct agent_link *link, uint16_t port)
{
    struct port_link *found = link->ports;

    if (link->closed)
        return NULL;
    while (found && port_link_port(found) != port)
        found = port_link_next(found);
    if (!found) {
        found = port_link_new(link->loop, port, link->ports);
        if (found)
            link->ports = found;
    }
    return found;
}

uint64_t agent_link_key(const struct agent_link *link)
{
    return link->key;
}

int64_t agent_link_generation(const struct agent_link *link)
{
    return link->generation;
}

void agent_link_set_generation(struct agent_link *link, int64_t generation)
{
    link->generation = generation;
}

void agent_link_close(struct agent_link *link, enum end_reason reason, int exit_status)
{
    if (link->closed)
        return;
    link->reason = reason;
    link->exit_status = exit_status;
    close_clients(link);
}

/* --- how it ended --- */

static const char *const reason_names[] = {
    [END_EXITED] = "exited",
    [END_SIGNALED] = "signaled",
    [END_OOM] = "oom",
    [END_KILLED] = "killed",
    [END_LOST] = "lost",
    [END_SLEPT] = "slept",
    [END_DESTROYED] = "destroyed",
    [END_START_FAILED] = "start_failed",
};

const char *end_reason_name(enum end_reason reason)
{
    return (size_t)reason < ARRAY_SIZE(reason_names) ? reason_names[reason] : NULL;
}

void end_reason_describe(enum end_reason reason, int exit_status, char *out, size_t size)
{
    switch (reason) {
    case END_EXITED:
        snprintf(out, size, "its pid 1 exited with status %d", exit_status);
        return;
    case END_SIGNALED:
        snprintf(out, size, "its pid 1 was ended by signal %d", exit_status);
        return;
    case END_OOM:
        snprintf(out, size, "it ran out of memory");
        return;
    case END_KILLED:
        snprintf(out, size, "it was killed");
        return;
    case END_SLEPT:
        snprintf(out, size, "it was put to sleep");
        return;
    case END_DESTROYED:
        snprintf(out, size, "it was deleted");
        return;
    case END_START_FAILED:
        snprintf(out, size, "it could not be started");
        return;
    default:
        snprintf(out, size, "it ended while nobody watched");
    }
}

bool agent_link_obituary(const struct agent_link *link, struct berm_error *err)
{
    char why[96];

    if (!link->closed)
        return false;
    end_reason_describe(link->reason, link->exit_status, why, sizeof(why));
    berm_fail(err, BERM_E_SANDBOX_DIED, 0, "the sandbox ended: %s", why);
    return true;
}

enum end_reason agent_link_reason(const struct agent_link *link)
{
    return link->reason;
}

static void on_mourn_timer(struct loop_timer *timer)
{
    struct agent_mourner *mourner = container_of(timer, struct agent_mourner, timer);

    list_remove(&mourner->node);
    mourner->link = NULL;
    mourner->done(mourner);
}

void agent_link_mourn(struct agent_link *link, struct agent_mourner *mourner,
                      void (*done)(struct agent_mourner *mourner))
{
    mourner->link = link;
    mourner->done = done;
    loop_timer_init(&mourner->timer, on_mourn_timer);
    list_append(&link->mourners, &mourner->node);
    if (link->closed)
        loop_defer(link->loop, &link->deferred);
    else
        loop_timer_start(link->loop, &mourner->timer, MOURN_MS);
}

void agent_link_mourn_cancel(struct agent_mourner *mourner)
{
    if (!mourner->link)
        return;
    loop_timer_stop(mourner->link->loop, &mourner->timer);
    list_remove(&mourner->node);
    mourner->link = NULL;
}
