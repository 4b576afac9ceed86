#include "net_count.h"

#include "base/sys.h"
#include "procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#define AGENT_PID  1
#define OTHERS_MAX 4096

/* "  lo: 952 10 0 0 0 0 0 0 952 10 ...": received bytes are the first number, sent ones the ninth. */
static uint64_t line_bytes(const char *line)
{
    const char *colon = strchr(line, ':');
    unsigned long long received = 0, sent = 0;

    if (!colon || sscanf(colon + 1, " %llu %*u %*u %*u %*u %*u %*u %*u %llu", &received, &sent) != 2)
        return 0;
    /* On the loopback interface what is sent is what is received. */
    return memcmp(line + strspn(line, " "), "lo:", 3) == 0 ? sent : sent + received;
}

static bool interface_bytes(uint64_t *ret)
{
    _cleanup_free_ char *text = malloc(16384);
    char *rest = NULL;

    if (!text || read_small_file(AT_FDCWD, "/proc/self/net/dev", text, 16384) < 0)
        return false;
    *ret = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        *ret += line_bytes(line);
    return true;
}

static bool look_at(pid_t pid, struct bystander *ret)
{
    struct timespec ts;
    clockid_t clock;

    *ret = (struct bystander){ .pid = pid, .ended = proc_is_zombie(pid) };
    if (ret->ended)
        return true;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
        return false;
    ret->cpu_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    return true;
}

static bool add(struct net_count *count, struct bystander one)
{
    if (count->other_count == OTHERS_MAX)
        return false;
    if (count->other_count == count->other_cap) {
        size_t cap = count->other_cap ? count->other_cap * 2 : 32;
        struct bystander *others = reallocarray(count->others, cap, sizeof(*others));
        if (!others)
            return false;
        count->others = others;
        count->other_cap = cap;
    }
    count->others[count->other_count++] = one;
    return true;
}

/* All processes of the sandbox but the two that do not count; what is gone before it could be looked at has run. */
static bool list_others(struct net_count *count)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    bool all = proc != NULL;

    while (all && (entry = readdir(proc))) {
        struct bystander one;
        int pid = 0;
        char more;

        if (sscanf(entry->d_name, "%d%c", &pid, &more) == 1 && pid > AGENT_PID && pid != getpid())
            all = look_at(pid, &one) && add(count, one);
    }
    if (proc)
        closedir(proc);
    return all;
}

void net_count_begin(struct net_count *count)
{
    *count = (struct net_count){ 0 };
    /* An agent that is not the first process here shares its network with who knows whom. */
    count->known = getppid() == AGENT_PID && list_others(count) && interface_bytes(&count->bytes);
}

static const struct bystander *find(const struct net_count *count, pid_t pid)
{
    for (size_t i = 0; i < count->other_count; i++)
        if (count->others[i].pid == pid)
            return &count->others[i];
    return NULL;
}

static bool nobody_ran(const struct net_count *before, const struct net_count *after)
{
    for (size_t i = 0; i < after->other_count; i++) {
        const struct bystander *now = &after->others[i], *then = find(before, now->pid);
        if (!then || (!then->ended && then->cpu_ns != now->cpu_ns))
            return false;
    }
    for (size_t i = 0; i < before->other_count; i++)
        if (!before->others[i].ended && !find(after, before->others[i].pid))
            return false;
    return true;
}

bool net_count_end(struct net_count *count, uint64_t *ret_bytes)
{
    struct net_count after = { 0 };
    bool known = count->known && interface_bytes(&after.bytes) && list_others(&after) && nobody_ran(count, &after);

    if (known)
        *ret_bytes = after.bytes - count->bytes;
    free(after.others);
    free(count->others);
    *count = (struct net_count){ 0 };
    return known;
}
