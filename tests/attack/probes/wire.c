/*
 * wire.c - what a taken-over bermd could say to berm-spawn. `X-wire SPAWN DATA IMAGES AGENT UID` starts a spawner
 * of its own, sends it requests that must be refused, then rubbish and descriptors in quantity, and looks whether
 * it is still the same process with the same number of descriptors.
 */
#include "probe.h"

#include "base/spawn_wire.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define GIB         (UINT64_C(1) << 30)
#define ANSWER_MS   10000
#define RUBBISH     20000
#define WITH_FDS    2000
#define IMAGES_GONE 100
#define LEAK_MARGIN 4 /* an image or a timer more or less */

static int sock;
static pid_t keeper;

/* --- the spawner --- */

static void start_spawner(char **argv)
{
    int pair[2];
    char fd[16];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        broken("socketpair: %s", errno_name(errno));
    keeper = fork();
    if (keeper == 0) {
        close(pair[0]);
        snprintf(fd, sizeof fd, "%d", pair[1]);
        execl(argv[0], argv[0], "--socket-fd", fd, "--data", argv[1], "--images", argv[2], "--agent", argv[3],
              "--owner-uid", argv[4], "--owner-gid", argv[4], "--max-memory", "1073741824", "--max-disk",
              "1073741824", "--max-pids", "512", "--max-cpu-millis", "1000", (char *)NULL);
        _exit(2);
    }
    close(pair[1]);
    sock = pair[0];
    struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static pid_t worker_pid(void)
{
    char path[64], text[256];
    long long pid = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", keeper, keeper);
    if (read_file(path, text, sizeof text) > 0)
        pid = strtoll(text, NULL, 10);
    return (pid_t)pid;
}

static int count_descriptors(pid_t pid)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return count;
}

/* --- talking to it --- */

static void send_message(const void *bytes, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { (void *)(uintptr_t)bytes, size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                           .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    if (sendmsg(sock, &message, MSG_NOSIGNAL) < 0 && errno != EMSGSIZE)
        broken("send: %s", errno_name(errno));
}

/* The reply with that serial; events and answers to rubbish are passed over. */
static bool receive(uint64_t serial, struct spawn_reply *ret)
{
    for (;;) {
        ssize_t n = recv(sock, ret, sizeof *ret, 0);
        if (n <= 0)
            return false;
        if (n == (ssize_t)sizeof *ret && ret->serial == serial)
            return true;
    }
}

static void drain(void)
{
    struct spawn_reply reply;

    while (recv(sock, &reply, sizeof reply, MSG_DONTWAIT) > 0)
        ;
}

static uint64_t next_serial = 1;

static struct spawn_request request(uint32_t op)
{
    return (
        struct spawn_request){ .version = SPAWN_WIRE_VERSION, .op = op, .serial = next_serial++, .key = 0x4242 };
}

static void must_be_refused(const struct spawn_request *request, const char *item)
{
    struct spawn_reply reply;

    send_message(request, sizeof *request, -1);
    if (!receive(request->serial, &reply))
        reached("no answer", "%s", item);
    else
        outcome(-(long)reply.error, "%s", item);
}

/* --- what must be refused --- */

static struct spawn_request plausible_create(void)
{
    struct spawn_request r = request(SPAWN_OP_CREATE);

    memset(r.create.image_digest, 0xab, sizeof r.create.image_digest);
    r.create.limits = (struct spawn_limits){ GIB / 4, GIB / 4, 1000, 64, 1024, 0 };
    memcpy(r.create.hostname, "probe", 6);
    return r;
}

static void try_hostnames(void)
{
    static const char *const names[] = { "", "../../etc", "a/b", "a b", "a\nb", "a\"b", "\xff", "a%sb", "." };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct spawn_request r = plausible_create();
        memset(r.create.hostname, 0, sizeof r.create.hostname);
        memcpy(r.create.hostname, names[i], strlen(names[i]));
        must_be_refused(&r, "a host name that is none");
    }
    struct spawn_request unending = plausible_create();
    memset(unending.create.hostname, 'a', sizeof unending.create.hostname);
    must_be_refused(&unending, "a host name without an end");
}

static void try_limits(void)
{
    struct spawn_request r = plausible_create();

    r.create.limits.memory_bytes = UINT64_MAX;
    must_be_refused(&r, "memory above the ceiling");
    r = plausible_create();
    r.create.limits.disk_bytes = 2 * GIB;
    must_be_refused(&r, "disk above the ceiling");
    r = plausible_create();
    r.create.limits.pids = 0;
    must_be_refused(&r, "no processes");
    r = plausible_create();
    r.create.limits.cpu_millis = UINT32_MAX;
    must_be_refused(&r, "CPU above the ceiling");
    r = plausible_create();
    r.create.limits.reserved = 1;
    must_be_refused(&r, "a reserved field");
}

static void try_fields(void)
{
    struct spawn_request r = plausible_create();

    must_be_refused(&r, "an image that is not installed");
    r = plausible_create();
    r.create.network = 2;
    must_be_refused(&r, "the host's network");
    r = plausible_create();
    r.create.backend = SPAWN_BACKEND_OCI;
    must_be_refused(&r, "a back end that is not configured");
    r = plausible_create();
    r.version = 99;
    must_be_refused(&r, "another version");
    r = request(77);
    must_be_refused(&r, "an operation that there is not");
    r = request(SPAWN_OP_PREPARE);
    r.prepare.slots = UINT32_MAX;
    must_be_refused(&r, "four billion slots");
    for (uint32_t op = SPAWN_OP_SET_LIMITS; op <= SPAWN_OP_EGRESS; op++) {
        if (op == SPAWN_OP_LIST || op == SPAWN_OP_PREPARE)
            continue;
        r = request(op);
        must_be_refused(&r, "an operation on a sandbox that there is not");
    }
}

static void try_volumes(void)
{
    struct spawn_request r = request(SPAWN_OP_VOLUME_CREATE);

    r.volume.disk_bytes = 2 * GIB;
    must_be_refused(&r, "a volume above the ceiling");
    r = request(SPAWN_OP_VOLUME_CREATE);
    must_be_refused(&r, "a volume without a limit");
    r = request(SPAWN_OP_VOLUME_CREATE);
    r.volume.disk_bytes = GIB / 4;
    r.key = 0;
    must_be_refused(&r, "a volume without a number");
    r = request(SPAWN_OP_VOLUME_DELETE);
    must_be_refused(&r, "the removal of a volume that there is not");
    r = request(SPAWN_OP_VOLUME_MOUNT);
    r.volume_mount.number = 1;
    must_be_refused(&r, "a volume in a sandbox that there is not");
    r.serial = next_serial++;
    r.volume_mount.number = 0;
    must_be_refused(&r, "a mount of no volume");
    r = request(SPAWN_OP_VOLUME_MOUNT);
    r.volume_mount.number = 1;
    r.volume_mount.fd = UINT32_MAX;
    must_be_refused(&r, "a mount over a descriptor that is none");
    r.serial = next_serial++;
    r.volume_mount.fd = 3;
    r.volume_mount.read_only = 2;
    must_be_refused(&r, "a mount that is neither for reading nor for writing");
}

static void try_commits(void)
{
    struct spawn_request r = request(SPAWN_OP_COMMIT);

    r.commit.number = 1;
    must_be_refused(&r, "an image of a sandbox that there is not");
    r.serial = next_serial++;
    r.commit.number = 0;
    must_be_refused(&r, "an image without a number");
    r = request(SPAWN_OP_IMAGE_DELETE);
    r.key = 0;
    must_be_refused(&r, "the removal of an image without a number");
}

/* Its name is made of a number, so that it is never an operator's; more at once than the imager takes are refused.
 */
static void delete_images(void)
{
    for (int i = 0; i < IMAGES_GONE; i++) {
        struct spawn_request r = request(SPAWN_OP_IMAGE_DELETE);
        r.key = (uint64_t)i + 1;
        send_message(&r, sizeof r, -1);
        drain();
    }
}

/* --- rubbish --- */

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Half of it looks like requests, so that it gets past the first check. None may create or prepare anything. */
static void send_rubbish(void)
{
    unsigned char bytes[1024];

    for (int i = 0; i < RUBBISH; i++) {
        size_t size = next_random() % 4 != 0 ? sizeof(struct spawn_request) : next_random() % sizeof bytes + 1;
        for (size_t at = 0; at < sizeof bytes; at += sizeof(uint64_t)) {
            uint64_t word = next_random();
            memcpy(bytes + at, &word, sizeof word);
        }
        struct spawn_request *r = (void *)bytes;
        if (next_random() % 2 == 0)
            r->version = SPAWN_WIRE_VERSION;
        r->op = (uint32_t)next_random() % (SPAWN_OP_IMAGE_LIST + 2);
        if (r->op == SPAWN_OP_PREPARE || r->op == SPAWN_OP_IMAGE_DELETE)
            r->op = SPAWN_OP_CREATE;
        send_message(bytes, size, -1);
        if (i % 16 == 0)
            drain();
    }
}

static void send_descriptors(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (int i = 0; i < WITH_FDS; i++) {
        struct spawn_request r = request(SPAWN_OP_STAT);
        send_message(&r, i % 2 ? sizeof r : 1, null);
        if (i % 16 == 0)
            drain();
    }
    close(null);
}

static bool answers(void)
{
    struct spawn_request hello = request(SPAWN_OP_HELLO);
    struct spawn_reply reply;

    hello.key = 0;
    send_message(&hello, sizeof hello, -1);
    return receive(hello.serial, &reply) && reply.error == 0;
}

static void survive(void (*attack)(void), const char *item)
{
    pid_t before = worker_pid();
    int descriptors = count_descriptors(before);

    attack();
    if (!answers())
        reached("no answer any more", "%s", item);
    else if (worker_pid() != before)
        reached("the worker died of it", "%s", item);
    else if (count_descriptors(before) > descriptors + LEAK_MARGIN)
        reached("descriptors were kept", "%s", item);
    else
        refused("checked field by field", "%s", item);
}

static void run_wire(int argc, char **argv)
{
    if (argc < 5)
        broken("arguments: SPAWN DATA IMAGES AGENT UID");
    start_spawner(argv);
    if (!answers())
        broken("the spawner does not answer");
    try_hostnames();
    try_limits();
    try_fields();
    try_volumes();
    try_commits();
    survive(delete_images, "removals of images that there are not");
    survive(send_rubbish, "rubbish");
    survive(send_descriptors, "descriptors that nobody asked for");
    close(sock);
    int status;
    if (waitpid(keeper, &status, 0) != keeper || status != 0)
        reached("it did not end in order", "the end of the daemon");
}

const struct probe probes_wire[] = {
    { "X-wire", "hostile requests to a spawner of its own: SPAWN DATA IMAGES AGENT UID", run_wire },
    { 0 },
};
