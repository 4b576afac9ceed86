/*
 * bench.c - what `make bench` measures, one group per sub-command, against a running bermd on loopback.
 *
 * Every figure is taken by a client as a user has one: HTTP over TCP. Peers (`crun run`, `bwrap`) are run in turn
 * with ours inside the same loop, so that the machine's mood is the same for all; what counts is the ratio.
 *
 *   berm-bench create PORT LABEL RUNS CREATE_TARGET_MS [CRUN_BUNDLE BWRAP_ROOT]
 *   berm-bench burst|idle PORT [COUNT]
 *   berm-bench lives|exec|files PORT
 *   berm-bench interpreter PORT [RUNS]
 *   berm-bench bridge|egress PORT RUNS
 *   berm-bench agent PORT PID SECONDS COMMANDS
 */
#include "agent.h"
#include "bridge.h"
#include "http.h"
#include "interpreter.h"
#include "stats.h"

#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int missed; /* targets of this file that were not met */

static void check(int met)
{
    missed += !met;
}

/* A sandbox id nobody used before: the bridge's alphabet, unique per process, thread and call. */
static void fresh_id(char id[32])
{
    static unsigned long counter;
    unsigned long n = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
    unsigned long long x = (unsigned long long)getpid() << 32 | n;

    memcpy(id, "bench", 5);
    for (int i = 0; i < 13; i++, x >>= 5)
        id[5 + i] = "abcdefghijklmnopqrstuvwxyz234567"[x & 31];
    id[18] = '\0';
}

static const char exec_true[] = "{\"argv\":[\"true\"]}";

static void exec_in(struct conn *c, const char *id, const char *json)
{
    char path[128];

    snprintf(path, sizeof(path), "/v1/sandbox/%s/exec", id);
    conn_expect(c, "POST", path, json, 200);
    if (!strstr(c->body, "\"exit_code\":0"))
        errx(1, "exec did not succeed: %.300s", c->body);
}

static void destroy(struct conn *c, const char *id)
{
    char path[128];

    snprintf(path, sizeof(path), "/v1/sandbox/%s", id);
    conn_expect(c, "DELETE", path, NULL, 204);
}

/* --- create, first result, destroy; beside crun and bwrap --- */

static double run_program(const char *const argv[])
{
    double start = now_us();
    posix_spawn_file_actions_t actions;
    int status;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        errx(1, "cannot run %s", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        errx(1, "%s failed: status 0x%x", argv[0], status);
    return now_us() - start;
}

static int bench_create(int argc, char **argv)
{
    struct conn *c = conn_open(atoi(argv[0]));
    int runs = atoi(argv[2]);
    char *bundle = argc > 4 ? argv[4] : NULL, *root = argc > 5 ? argv[5] : NULL;
    struct samples create = { .name = "create -> first result of `true`" }, gone = { .name = "destroy answered" };
    struct samples crun = { .name = "crun run" }, bwrap = { .name = "bwrap --unshare-all" };

    for (int i = -3; i < runs; i++) {
        char id[32], crun_id[32];
        double t0, t1, t2;
        fresh_id(id);
        t0 = now_us();
        exec_in(c, id, exec_true);
        t1 = now_us();
        destroy(c, id);
        t2 = now_us();
        if (i >= 0) {
            samples_add(&create, t1 - t0);
            samples_add(&gone, t2 - t1);
        }
        if (bundle && i >= 0) {
            snprintf(crun_id, sizeof(crun_id), "bench-%d-%d", getpid(), i);
            samples_add(&crun, run_program((const char *[]){ "crun", "run", "-b", bundle, crun_id, NULL }));
        }
        if (root && i >= 0)
            samples_add(&bwrap,
                        run_program((const char *[]){ "bwrap", "--unshare-all", "--ro-bind", root, "/", "--proc",
                                                      "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "true", NULL }));
        /* Sandboxes of the pool are made behind the request; give the pool its turn, as a user's pace does. */
        usleep(20000);
    }
    printf("%s\n", argv[1]);
    print_samples(&create);
    print_samples(&gone);
    check(print_target("create -> first result, p50", samples_percentile(&create, 0.5) / 1e3, "ms", '<',
                       atof(argv[3])));
    check(print_target("destroy answered, p50", samples_percentile(&gone, 0.5) / 1e3, "ms", '<', 0.5));
    if (bundle) {
        print_samples(&crun);
        print_against(&create, &crun);
        check(print_target("create / crun run, p50",
                           samples_percentile(&create, .5) / samples_percentile(&crun, .5), "ratio", '<', 0.5));
    }
    if (root) {
        print_samples(&bwrap);
        print_against(&create, &bwrap);
    }
    conn_close(c);
    return 0;
}

/* --- the way out --- */

static void create_with(struct conn *c, const char *settings, struct samples *into)
{
    char id[32], path[128];
    double t0;

    fresh_id(id);
    snprintf(path, sizeof(path), "/v1/sandbox/%s", id);
    t0 = now_us();
    conn_expect(c, "PUT", path, settings, 201);
    exec_in(c, id, exec_true);
    if (into)
        samples_add(into, now_us() - t0);
    destroy(c, id);
    usleep(20000);
}

static int bench_egress(int argc, char **argv)
{
    struct conn *c = conn_open(atoi(argv[0]));
    struct samples with = { .name = "create -> first result, with a way out" };
    struct samples without = { .name = "the same, network \"none\"" };
    double cost;

    (void)argc;
    for (int i = -3; i < atoi(argv[1]); i++) {
        create_with(c, "{\"network\":\"internet\"}", i < 0 ? NULL : &with);
        create_with(c, "{\"network\":\"none\"}", i < 0 ? NULL : &without);
    }
    print_samples(&with);
    print_samples(&without);
    cost = (samples_percentile(&with, 0.5) - samples_percentile(&without, 0.5)) / 1e3;
    check(print_target("cost of egress at creation, difference of p50", cost, "ms", '<', 0.4));
    conn_close(c);
    return 0;
}

/* --- many at once --- */

struct worker {
    pthread_t thread;
    int port, rounds, index;
    pthread_barrier_t *start;
    struct samples samples;
    char id[32];
};

static void run_workers(struct worker *workers, int count, void *(*body)(void *), int port, int rounds)
{
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){ .port = port, .rounds = rounds, .index = i, .start = &barrier };
        if (pthread_create(&workers[i].thread, NULL, body, &workers[i]) != 0)
            errx(1, "threads");
    }
    pthread_barrier_wait(&barrier);
}

static double join_workers(struct worker *workers, int count, double start)
{
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    return now_us() - start;
}

static void *burst_body(void *data)
{
    struct worker *w = data;
    struct conn *c = conn_open(w->port);
    double start;

    fresh_id(w->id);
    pthread_barrier_wait(w->start);
    start = now_us();
    exec_in(c, w->id, exec_true);
    samples_add(&w->samples, now_us() - start);
    conn_close(c);
    return NULL;
}

static int bench_burst(int argc, char **argv)
{
    int port = atoi(argv[0]), count = argc > 1 ? atoi(argv[1]) : 200;
    struct worker *workers = calloc((size_t)count, sizeof(*workers));
    struct samples all = { .name = "one of them" };
    struct conn *c = conn_open(port);
    double start, took;

    run_workers(workers, count, burst_body, port, 1);
    start = now_us();
    took = join_workers(workers, count, start);
    for (int i = 0; i < count; i++) {
        samples_add(&all, workers[i].samples.us[0]);
        destroy(c, workers[i].id);
    }
    printf("%d created at once, each running `true`: all succeeded\n", count);
    print_samples(&all);
    check(print_target("created at once", count / (took / 1e6), "per second", '>', 250));
    conn_close(c);
    return 0;
}

static void *lives_body(void *data)
{
    struct worker *w = data;
    struct conn *c = conn_open(w->port);

    pthread_barrier_wait(w->start);
    for (int i = 0; i < w->rounds; i++) {
        double start = now_us();
        fresh_id(w->id);
        exec_in(c, w->id, exec_true);
        destroy(c, w->id);
        samples_add(&w->samples, now_us() - start);
    }
    conn_close(c);
    return NULL;
}

static int bench_lives(int argc, char **argv)
{
    struct worker workers[8];
    double start, took;

    (void)argc;
    run_workers(workers, 8, lives_body, atoi(argv[0]), 100);
    start = now_us();
    took = join_workers(workers, 8, start);
    printf("whole lives (create, run `true`, destroy), 8 clients\n");
    check(print_target("whole lives", 800 / (took / 1e6), "per second", '>', 250));
    return 0;
}

/* --- commands in a living sandbox --- */

static void agent_execute(struct conn *c, const char *id, const char *session, const char *command)
{
    char path[128], body[256];

    snprintf(path, sizeof(path), "/v1/sandbox/%s/container/api/execute", id);
    snprintf(body, sizeof(body), "{\"command\":\"%s\",\"sessionId\":\"%s\"}", command, session);
    conn_expect(c, "POST", path, body, 200);
    if (!strstr(c->body, "\"exitCode\":0"))
        errx(1, "%s failed: %.300s", command, c->body);
}

static char shared_id[32];

static void *sessions_body(void *data)
{
    struct worker *w = data;
    struct conn *c = conn_open(w->port);
    char session[16];

    snprintf(session, sizeof(session), "s%d", w->index);
    agent_execute(c, shared_id, session, ":");
    pthread_barrier_wait(w->start);
    for (int i = 0; i < w->rounds; i++)
        agent_execute(c, shared_id, session, "/bin/true");
    conn_close(c);
    return NULL;
}

/*
 * A sandbox has one CPU unless it is given more, and `/bin/true` in bash takes 0.9 ms of it (fork, exec, dynamic
 * linker): the row of eight sessions would measure that limit.
 */
static void make_wide(struct conn *c, const char *id)
{
    char path[128];
    static const char body[] = "{\"limits\":{\"cpuMillis\":8000}}";

    snprintf(path, sizeof(path), "/v1/sandbox/%s", id);
    conn_expect(c, "PUT", path, body, 201);
}

static void builtin_in_session(struct conn *c)
{
    agent_execute(c, shared_id, "bench", ":");
}

static void external_in_session(struct conn *c)
{
    agent_execute(c, shared_id, "bench", "/bin/true");
}

static void external_in_bash(struct conn *c)
{
    agent_execute(c, shared_id, "__DISABLE_SESSION__", "exec /bin/true");
}

static void external_alone(struct conn *c)
{
    exec_in(c, shared_id, "{\"argv\":[\"/bin/true\"]}");
}

/* Each row by itself: what one command leaves in the caches is not the next one's matter. */
static void sample(struct conn *c, struct samples *samples, void (*command)(struct conn *c))
{
    for (int i = -20; i < 300; i++) {
        double start = now_us();
        command(c);
        if (i >= 0)
            samples_add(samples, now_us() - start);
    }
}

static int bench_exec(int argc, char **argv)
{
    int port = atoi(argv[0]);
    struct conn *c = conn_open(port);
    struct samples builtin = { .name = "session exec of a builtin" },
                   external = { .name = "session exec of /bin/true" };
    struct samples sessionless = { .name = "sessionless exec, bash -c /bin/true" };
    struct samples stateless = { .name = "stateless exec, argv [/bin/true]" };
    struct worker workers[8];
    double start, took;

    (void)argc;
    fresh_id(shared_id);
    sample(c, &builtin, builtin_in_session);
    sample(c, &external, external_in_session);
    sample(c, &sessionless, external_in_bash);
    sample(c, &stateless, external_alone);
    printf("commands in a living sandbox\n");
    print_samples(&builtin);
    print_samples(&external);
    print_samples(&sessionless);
    print_samples(&stateless);
    check(print_target("session exec of a builtin, p50", samples_percentile(&builtin, .5) / 1e3, "ms", '<', 0.15));
    check(print_target("sessionless /bin/true, p50", samples_percentile(&stateless, .5) / 1e3, "ms", '<', 0.9));
    destroy(c, shared_id);
    fresh_id(shared_id);
    make_wide(c, shared_id);
    run_workers(workers, 8, sessions_body, port, 400);
    start = now_us();
    took = join_workers(workers, 8, start);
    check(print_target("8 sessions at once, external commands", 8 * 400 / (took / 1e6), "per second", '>', 2000));
    destroy(c, shared_id);
    conn_close(c);
    return 0;
}

/* --- files --- */

static void file_rows(struct conn *c, const char *id, size_t size, const char *label, int runs, double read_ms,
                      double write_ms)
{
    char path[128], name[64];
    char *bytes = malloc(size);
    struct samples reads = { .name = "read" }, writes = { .name = "write" };

    if (!bytes)
        err(1, "memory");
    memset(bytes, 'x', size);
    snprintf(path, sizeof(path), "/v1/sandbox/%s/file/workspace/bench.bin", id);
    for (int i = -1; i < runs; i++) {
        double t0 = now_us(), t1, t2;
        if (conn_request(c, "PUT", path, "application/octet-stream", bytes, size) != 200)
            errx(1, "write: %.300s", c->body);
        t1 = now_us();
        conn_expect(c, "GET", path, NULL, 200);
        t2 = now_us();
        if (c->body_len != size)
            errx(1, "read %zu bytes of %zu", c->body_len, size);
        if (i >= 0) {
            samples_add(&writes, t1 - t0);
            samples_add(&reads, t2 - t1);
        }
    }
    snprintf(name, sizeof(name), "read %s", label);
    reads.name = name;
    print_samples(&reads);
    if (read_ms > 0)
        check(print_target("", samples_percentile(&reads, .5) / 1e3, "ms", '<', read_ms));
    snprintf(name, sizeof(name), "write %s", label);
    writes.name = name;
    print_samples(&writes);
    if (write_ms > 0)
        check(print_target("", samples_percentile(&writes, .5) / 1e3, "ms", '<', write_ms));
    samples_free(&reads);
    samples_free(&writes);
    free(bytes);
}

static int bench_files(int argc, char **argv)
{
    struct conn *c = conn_open(atoi(argv[0]));
    char id[32];

    (void)argc;
    fresh_id(id);
    exec_in(c, id, exec_true);
    printf("files\n");
    file_rows(c, id, 1000, "1 KB", 300, 0, 0);
    file_rows(c, id, 1000000, "1 MB", 200, 0.4, 1.4);
    file_rows(c, id, 100000000, "100 MB", 5, 0, 0);
    destroy(c, id);
    conn_close(c);
    return 0;
}

/* --- memory of idle sandboxes --- */

/* What the whole system has left, with caches emptied: the sandbox's kernel memory counts, not just its RSS. */
static double available_mib(void)
{
    char line[128];
    double kib = 0;
    FILE *f;
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

    sync();
    if (fd < 0 || write(fd, "3", 1) != 1)
        err(1, "drop_caches");
    close(fd);
    f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemFree: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

static int bench_idle(int argc, char **argv)
{
    struct conn *c = conn_open(atoi(argv[0]));
    int count = argc > 1 ? atoi(argv[1]) : 1000;
    char(*ids)[32] = calloc((size_t)count, sizeof(*ids));
    double before, after;

    if (!ids)
        err(1, "memory");
    fresh_id(ids[0]);
    exec_in(c, ids[0], exec_true); /* the image's pages and the daemon's own warm-up are not a sandbox's memory */
    destroy(c, ids[0]);
    sleep(2);
    before = available_mib();
    for (int i = 0; i < count; i++) {
        fresh_id(ids[i]);
        exec_in(c, ids[i], exec_true);
    }
    sleep(2);
    after = available_mib();
    printf("%d idle sandboxes, after each ran `true`\n", count);
    check(print_target("memory per idle sandbox, whole system", (before - after) / count, "MiB", '<', 1.0));
    for (int i = 0; i < count; i++)
        destroy(c, ids[i]);
    conn_close(c);
    free(ids);
    return 0;
}

static const struct {
    const char *name;
    int args;
    /* How many targets it has missed; those of this file count them in `missed`. */
    int (*run)(int argc, char **argv);
} groups[] = {
    { "create", 4, bench_create },
    { "burst", 1, bench_burst },
    { "lives", 1, bench_lives },
    { "exec", 1, bench_exec },
    { "files", 1, bench_files },
    { "idle", 1, bench_idle },
    { "interpreter", 1, bench_interpreter },
    { "agent", 4, bench_agent },
    { "bridge", 2, bench_bridge },
    { "egress", 2, bench_egress },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(groups) / sizeof(groups[0]); i++)
        if (strcmp(argv[1], groups[i].name) == 0 && argc - 2 >= groups[i].args) {
            int elsewhere = groups[i].run(argc - 2, argv + 2);
            return missed + elsewhere > 0 ? 3 : 0;
        }
    fprintf(stderr, "usage: berm-bench create PORT LABEL RUNS TARGET_MS [BUNDLE ROOT] | "
                    "burst|idle PORT [COUNT] | lives|exec|files PORT | interpreter PORT [RUNS] | "
                    "bridge|egress PORT RUNS | agent PORT PID SECONDS COMMANDS\n");
    return 2;
}
