/*
 * spawnctl.c - measures berm-spawn alone: how long CREATE and DESTROY take, one after the other, many at once, and
 * what an idle sandbox costs. Usage: spawnctl PATH-OF-BERM-SPAWN PATH-OF-AGENT [ROUNDS [READY-SLOTS]]
 */
#include "spawn_harness.h"

#include "base/base.h"
#include "base/loop.h"
#include "base/sys.h"

#include <err.h>
#include <fcntl.h>
#include <time.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *name, uint64_t *ns, int n)
{
    qsort(ns, (size_t)n, sizeof(*ns), compare);
    printf("%-28s min %6.3f  p50 %6.3f  p99 %6.3f ms\n", name, (double)ns[0] / 1e6, (double)ns[n / 2] / 1e6,
           (double)ns[n * 99 / 100] / 1e6);
}

static void must(const struct spawn_reply *reply, const char *what)
{
    if (reply->error != 0)
        errx(1, "%s: %s", what, reply->message);
}

static void prepare(struct spawn_harness *h, uint32_t slots)
{
    struct spawn_request r = harness_request(h, SPAWN_OP_PREPARE, 0);
    struct spawn_reply reply;

    r.prepare.slots = slots;
    reply = harness_call(h, &r);
    must(&reply, "prepare");
    do {
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        reply = harness_simple(h, SPAWN_OP_HELLO, 0);
    } while (reply.hello.ready_slots < slots);
}

/* Create, answer of the agent's socket, destroy; with a pause in which the pool of slots fills up again, or none.
 */
static void measure_sequence(struct spawn_harness *h, int rounds, long pause_ms, const char *name)
{
    uint64_t *create = calloc((size_t)rounds, sizeof(*create));
    uint64_t *answer = calloc((size_t)rounds, sizeof(*answer));
    uint64_t *destroy = calloc((size_t)rounds, sizeof(*destroy));
    char label[64];

    for (int i = 0; i < rounds; i++) {
        uint64_t key = 0x1000u + (uint64_t)i, t0 = clock_monotonic_ns(), t1, t2, t3;
        struct spawn_reply reply = harness_create(h, key);
        t1 = clock_monotonic_ns();
        must(&reply, "create");
        harness_ask(h, key, "stat /");
        t2 = clock_monotonic_ns();
        reply = harness_simple(h, SPAWN_OP_DESTROY, key);
        t3 = clock_monotonic_ns();
        must(&reply, "destroy");
        create[i] = t1 - t0;
        answer[i] = t2 - t0;
        destroy[i] = t3 - t2;
        if (pause_ms)
            nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000 }, NULL);
    }
    snprintf(label, sizeof(label), "%s: create", name);
    print_times(label, create, rounds);
    snprintf(label, sizeof(label), "%s: create+answer", name);
    print_times(label, answer, rounds);
    snprintf(label, sizeof(label), "%s: destroy", name);
    print_times(label, destroy, rounds);
    free(create);
    free(answer);
    free(destroy);
}

static void collect(struct spawn_harness *h, int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        struct spawn_reply reply = harness_receive(h, NULL, 0);
        must(&reply, what);
    }
}

static void send_all(struct spawn_harness *h, uint32_t op, int n)
{
    for (int i = 0; i < n; i++) {
        struct spawn_request r = harness_request(h, op, 0x100000u + (uint64_t)i);
        harness_send(h, &r);
    }
}

static void measure_burst(struct spawn_harness *h, int n)
{
    uint64_t t0 = clock_monotonic_ns(), t1, t2;

    send_all(h, SPAWN_OP_CREATE, n);
    collect(h, n, "create at once");
    t1 = clock_monotonic_ns();
    send_all(h, SPAWN_OP_DESTROY, n);
    collect(h, n, "destroy at once");
    t2 = clock_monotonic_ns();
    printf("%d at once: created in %.1f ms = %.0f/s, destroys answered in %.1f ms\n", n, (double)(t1 - t0) / 1e6,
           n * 1e9 / (double)(t1 - t0), (double)(t2 - t1) / 1e6);
}

static long mem_free_kib(void)
{
    char text[8192];
    const char *at;

    if (read_small_file(AT_FDCWD, "/proc/meminfo", text, sizeof(text)) < 0 || !(at = strstr(text, "MemFree:")))
        errx(1, "/proc/meminfo");
    return strtol(at + 8, NULL, 10);
}

static void measure_idle(struct spawn_harness *h, int n)
{
    long before = mem_free_kib();

    for (int i = 0; i < n; i++) {
        struct spawn_reply reply = harness_create(h, 0x200000u + (uint64_t)i);
        must(&reply, "create idle");
    }
    printf("%d idle: %ld KiB each\n", n, (before - mem_free_kib()) / n);
    for (int i = 0; i < n; i++) {
        struct spawn_reply reply = harness_simple(h, SPAWN_OP_DESTROY, 0x200000u + (uint64_t)i);
        must(&reply, "destroy idle");
    }
}

static void measure_lives(struct spawn_harness *h, int n)
{
    uint64_t t0 = clock_monotonic_ns(), t1;

    for (int i = 0; i < n; i++) {
        struct spawn_reply reply = harness_create(h, 0x300000u + (uint64_t)i);
        must(&reply, "create");
        reply = harness_simple(h, SPAWN_OP_DESTROY, 0x300000u + (uint64_t)i);
        must(&reply, "destroy");
    }
    t1 = clock_monotonic_ns();
    printf("%d lives one after the other: %.0f/s\n", n, n * 1e9 / (double)(t1 - t0));
}

int main(int argc, char **argv)
{
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 100;
    uint32_t slots = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 16;
    struct spawn_harness h;
    struct spawn_reply reply;

    if (argc < 3)
        errx(2, "usage: spawnctl BERM-SPAWN AGENT [ROUNDS [READY-SLOTS]]");
    harness_init(&h, argv[1], argv[2]);
    harness_start(&h);
    reply = harness_create(&h, 1);
    must(&reply, "first create");
    measure_sequence(&h, rounds, 0, "no pool");
    prepare(&h, slots);
    measure_sequence(&h, rounds, 10, "pool, at leisure");
    measure_sequence(&h, rounds, 0, "pool, in a row");
    measure_lives(&h, rounds * 2);
    measure_burst(&h, 200);
    if (argc > 5)
        measure_idle(&h, (int)strtol(argv[5], NULL, 10));
    harness_fini(&h);
    return 0;
}
