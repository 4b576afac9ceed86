#include "spawn_harness.h"

#include "base/base.h"
#include "base/sys.h"

#include <err.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

int harness_run(const char *const argv[])
{
    pid_t pid;
    int status, rc;

    rc = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);
    if (rc != 0)
        errx(1, "run %s: %s", argv[0], strerror(rc));
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
        err(1, "wait for %s", argv[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void make_directory(const char *base, const char *name, mode_t mode)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    if (mkdir(path, 0755) < 0 || chmod(path, mode) < 0)
        err(1, "make %s", path);
}

void harness_install_image(struct spawn_harness *h, const char *tree, uint8_t id)
{
    char hex[65], directory[400], file[450];

    memset(h->digest, id, sizeof(h->digest));
    hex_encode(h->digest, sizeof(h->digest), hex);
    snprintf(directory, sizeof(directory), "%s/%s", h->images, hex);
    snprintf(file, sizeof(file), "%s/rootfs.erofs", directory);
    if (mkdir(directory, 0755) < 0)
        err(1, "make %s", directory);
    if (harness_run((const char *const[]){ "mkfs.erofs", "--quiet", file, tree, NULL }) != 0 &&
        harness_run((const char *const[]){ "mkfs.erofs", "-d0", file, tree, NULL }) != 0)
        errx(1, "mkfs.erofs failed");
}

static void make_plain_image(struct spawn_harness *h)
{
    static const char *const directories[] = { "bin", "etc", "proc", "sys", "dev", "workspace", "usr" };
    char tree[300];

    snprintf(tree, sizeof(tree), "%s/tree", h->base);
    make_directory(h->base, "tree", 0755);
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        make_directory(tree, directories[i], 0755);
    make_directory(tree, "tmp", 01777);
    harness_install_image(h, tree, 1);
}

void harness_init(struct spawn_harness *h, const char *program, const char *agent)
{
    const char *top = getenv("TMPDIR");

    memset(h, 0, sizeof(*h));
    h->program = program;
    h->agent = agent;
    h->sock = -EBADF;
    snprintf(h->base, sizeof(h->base), "%s/berm-spawn-test.XXXXXX", top && *top ? top : "/tmp");
    if (!mkdtemp(h->base))
        err(1, "make a directory in %s", top);
    snprintf(h->data, sizeof(h->data), "%s/data", h->base);
    snprintf(h->images, sizeof(h->images), "%s/images", h->base);
    make_directory(h->base, "data", 0755);
    make_directory(h->base, "images", 0755);
    make_plain_image(h);
}

static void exec_spawner(const struct spawn_harness *h, int sock)
{
    const char *argv[32] = { h->program, "--data",      h->data,       "--images", h->images,
                             "--agent",  h->agent,      "--owner-uid", "65534",    "--owner-gid",
                             "65534",    "--disk-pool", "2147483648" };
    char fd[16];
    int n = 13;

    snprintf(fd, sizeof(fd), "%d", sock);
    argv[n++] = sock >= 0 ? "--socket-fd" : "--stop-all";
    if (sock >= 0)
        argv[n++] = fd;
    for (int i = 0; sock >= 0 && h->extra[i]; i++)
        argv[n++] = h->extra[i];
    argv[n] = NULL;
    execv(h->program, (char *const *)(uintptr_t)argv);
    err(127, "exec %s", h->program);
}

void harness_start(struct spawn_harness *h)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    h->keeper = fork();
    if (h->keeper < 0)
        err(1, "fork");
    if (h->keeper == 0) {
        fcntl(pair[1], F_SETFD, 0);
        exec_spawner(h, pair[1]);
    }
    close(pair[1]);
    h->sock = pair[0];
    h->exit_events = 0;
}

int harness_stop(struct spawn_harness *h)
{
    int status;

    close_fd(&h->sock);
    if (h->keeper <= 0)
        return 0;
    if (RETRY_EINTR(waitpid(h->keeper, &status, 0)) < 0)
        err(1, "wait for berm-spawn");
    h->keeper = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void harness_fini(struct spawn_harness *h)
{
    pid_t pid;
    int status;

    harness_stop(h);
    pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0)
        exec_spawner(h, -1);
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || status != 0)
        errx(1, "--stop-all ended with status %d", status);
    if (harness_run((const char *const[]){ "rm", "-rf", "--one-file-system", h->base, NULL }) != 0)
        errx(1, "cannot remove %s", h->base);
}

struct spawn_request harness_request(struct spawn_harness *h, uint32_t op, uint64_t key)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = op, .serial = ++h->serial, .key = key };

    if (op != SPAWN_OP_CREATE)
        return r;
    memcpy(r.create.image_digest, h->digest, sizeof(h->digest));
    r.create.limits = (struct spawn_limits){
        .memory_bytes = 256u << 20, .disk_bytes = 64u << 20, .cpu_millis = 1000, .pids = 64, .nofile = 256
    };
    snprintf(r.create.hostname, sizeof(r.create.hostname), "box-%llx", (unsigned long long)key);
    return r;
}

void harness_send(struct spawn_harness *h, const struct spawn_request *r)
{
    if (send(h->sock, r, sizeof(*r), MSG_NOSIGNAL) != (ssize_t)sizeof(*r))
        err(1, "send a request");
}

struct spawn_reply harness_receive_fds(struct spawn_harness *h, int ret_fds[SPAWN_EGRESS_FDS], int with_events)
{
    for (;;) {
        struct spawn_reply reply;
        size_t nfds = 0;
        ssize_t n;

        for (int i = 0; i < SPAWN_EGRESS_FDS; i++)
            ret_fds[i] = -EBADF;
        n = recv_fds(h->sock, &reply, sizeof(reply), ret_fds, SPAWN_EGRESS_FDS, &nfds);

        if (n != (ssize_t)sizeof(reply))
            err(1, "receive a reply: %zd bytes", n);
        if (reply.op == SPAWN_OP_EVENT) {
            h->exit_events += reply.event == SPAWN_EVENT_EXIT;
            h->last_event = reply;
            if (!with_events)
                continue;
        }
        return reply;
    }
}

struct spawn_reply harness_receive(struct spawn_harness *h, int *ret_fd, int with_events)
{
    int fds[SPAWN_EGRESS_FDS];
    struct spawn_reply reply = harness_receive_fds(h, fds, with_events);

    if (ret_fd)
        *ret_fd = TAKE_FD(fds[0]);
    for (int i = 0; i < SPAWN_EGRESS_FDS; i++)
        close_fd(&fds[i]);
    return reply;
}

struct spawn_reply harness_call(struct spawn_harness *h, const struct spawn_request *r)
{
    harness_send(h, r);
    return harness_receive(h, NULL, 0);
}

struct spawn_reply harness_create(struct spawn_harness *h, uint64_t key)
{
    struct spawn_request r = harness_request(h, SPAWN_OP_CREATE, key);

    return harness_call(h, &r);
}

struct spawn_reply harness_simple(struct spawn_harness *h, uint32_t op, uint64_t key)
{
    struct spawn_request r = harness_request(h, op, key);

    return harness_call(h, &r);
}

static int connect_agent(const struct spawn_harness *h, uint64_t key)
{
    char run[320], name[40];
    struct sockaddr_un address;
    socklen_t len;
    int dir, sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(run, sizeof(run), "%s/run", h->data);
    snprintf(name, sizeof(name), SPAWN_AGENT_SOCKET_FORMAT, (unsigned long long)key);
    dir = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (sock < 0 || dir < 0 || unix_address_at(dir, name, &address, &len) < 0)
        err(1, "agent socket");
    if (connect(sock, (const struct sockaddr *)&address, len) < 0)
        err(1, "connect to agent %s", name);
    close(dir);
    return sock;
}

const char *harness_ask(struct spawn_harness *h, uint64_t key, const char *format, ...)
{
    static char answer[65536];
    char line[512];
    int sock = connect_agent(h, key);
    va_list args;
    ssize_t n;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (write_all(sock, line, strlen(line)) < 0 || shutdown(sock, SHUT_WR) < 0)
        err(1, "ask the agent");
    n = read_to_end(sock, answer, sizeof(answer) - 1);
    answer[n < 0 ? 0 : n] = '\0'; /* an agent that was killed gives no answer */
    close(sock);
    return answer;
}
