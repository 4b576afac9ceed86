/*
 * interpreter.c - contexts and executions, over HTTP as a client has them.
 *
 * Each figure stands beside what the same thing costs without Berm's help: a program that starts in the sandbox and
 * imports what the context has.
 */
#include "interpreter.h"

#include "http.h"
#include "stats.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
    struct conn *c;
    int missed;
};

static void call(struct bench *b, const char *method, const char *path, const char *body, const char *must_hold)
{
    int status = conn_request(b->c, method, path, body ? "application/json" : NULL, body, body ? strlen(body) : 0);

    if (status / 100 != 2 || (must_hold && !strstr(b->c->body, must_hold)))
        errx(1, "%s %s: status %d: %.400s", method, path, status, b->c->body);
}

static void fresh_id(char id[32])
{
    static unsigned n;

    snprintf(id, 32, "kernel%c%c%c%c", 'a' + (int)(n / 676 % 26), 'a' + (int)(n / 26 % 26), 'a' + (int)(n % 26),
             'a' + getpid() % 26);
    n++;
}

static void new_context(struct bench *b, const char *sandbox, const char *language, char context[64])
{
    char path[128], body[64], *at;

    snprintf(path, sizeof(path), "/v1/sandbox/%.31s/container/api/contexts", sandbox);
    snprintf(body, sizeof(body), "{\"language\":\"%s\"}", language);
    call(b, "POST", path, body, "\"contextId\":\"");
    at = strstr(b->c->body, "\"contextId\":\"") + strlen("\"contextId\":\"");
    snprintf(context, 64, "%.36s", at);
}

static void run_code(struct bench *b, const char *sandbox, const char *context, const char *code,
                     const char *answer)
{
    char path[128], body[512];

    snprintf(path, sizeof(path), "/v1/sandbox/%.31s/container/api/execute/code", sandbox);
    snprintf(body, sizeof(body), "{\"context_id\":\"%s\",\"code\":\"%s\"}", context, code);
    call(b, "POST", path, body, answer);
}

static void remove_context(struct bench *b, const char *sandbox, const char *context)
{
    char path[160];

    snprintf(path, sizeof(path), "/v1/sandbox/%.31s/container/api/contexts/%s", sandbox, context);
    call(b, "DELETE", path, NULL, NULL);
}

static void destroy(struct bench *b, const char *sandbox)
{
    char path[128];

    snprintf(path, sizeof(path), "/v1/sandbox/%.31s", sandbox);
    call(b, "DELETE", path, NULL, NULL);
}

static void report(struct bench *b, struct samples *samples, double target_ms)
{
    print_samples(samples);
    b->missed += !print_target(samples->name, samples_percentile(samples, 0.5) / 1000, "ms p50", '<', target_ms);
    samples_free(samples);
}

static void first_result(struct bench *b, int runs)
{
    struct samples ours = { .name = "new sandbox -> first 1+1 in Python" };
    struct samples cold = { .name = "cold python3 -c 'import IPython, pandas, matplotlib.pyplot' in it" };
    static const char exec[] = "{\"argv\":[\"python3\",\"-c\",\"import IPython, pandas, matplotlib.pyplot\"]}";
    char id[32], context[64], path[128];

    for (int i = -2; i < runs; i++) {
        double start = now_us(), end;
        fresh_id(id);
        new_context(b, id, "python", context);
        run_code(b, id, context, "1+1", "\"text\":\"2\"");
        end = now_us();
        if (i >= 0)
            samples_add(&ours, end - start);
        snprintf(path, sizeof(path), "/v1/sandbox/%.31s/exec", id);
        if (i >= 0 && i % 10 == 0) {
            start = now_us();
            call(b, "POST", path, exec, "\"exit_code\":0");
            samples_add(&cold, now_us() - start);
        }
        destroy(b, id);
        usleep(20000); /* the pool's turn */
    }
    print_against(&ours, &cold);
    report(b, &ours, 12);
    samples_free(&cold);
}

static void living(struct bench *b, const char *language, int runs, double new_ms)
{
    char id[32], context[64], name[96];
    struct samples fresh = { .name = name }, warm = { .name = "warm 1+1" };

    snprintf(name, sizeof(name), "living sandbox: new %s context and 1+1", language);
    fresh_id(id);
    for (int i = -2; i < runs; i++) {
        double start = now_us();
        new_context(b, id, language, context);
        run_code(b, id, context, "1+1", "\"text\":\"2\"");
        if (i >= 0)
            samples_add(&fresh, now_us() - start);
        for (int k = 0; k < 10; k++) {
            start = now_us();
            run_code(b, id, context, "1+1", "\"text\":\"2\"");
            if (k > 1)
                samples_add(&warm, now_us() - start);
        }
        remove_context(b, id, context);
        usleep(100000); /* a spare needs its time */
    }
    report(b, &fresh, new_ms);
    report(b, &warm, 0.5);
    destroy(b, id);
}

static void libraries(struct bench *b, int runs)
{
    static const char plot[] = "import matplotlib.pyplot as plt\\nplt.plot([1, 2, 3]);";
    struct samples pandas = { .name = "import pandas in a new context" }, png = { .name = "plot -> PNG" };
    char id[32], context[64];

    fresh_id(id);
    for (int i = -1; i < runs; i++) {
        double start;
        new_context(b, id, "python", context);
        start = now_us();
        run_code(b, id, context, "import pandas", "execution_complete");
        if (i >= 0)
            samples_add(&pandas, now_us() - start);
        start = now_us();
        run_code(b, id, context, plot, "\"png\"");
        if (i >= 0)
            samples_add(&png, now_us() - start);
        remove_context(b, id, context);
    }
    report(b, &pandas, 5);
    report(b, &png, 48);
    destroy(b, id);
}

static double available_mib(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    unsigned long kib = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file) && sscanf(line, "MemAvailable: %lu kB", &kib) != 1)
        ;
    if (!file || kib == 0)
        errx(1, "/proc/meminfo has no MemAvailable");
    fclose(file);
    return (double)kib / 1024;
}

/*
 * What a sandbox with a Python context takes of the whole machine, kernel included: what MemAvailable falls by
 * while so many are made, each with its first result. The pages of the image and its snapshot are in the page cache
 * before, as they are shared. Others change the figure too, so it is the median of three.
 */
static void memory(struct bench *b)
{
    enum { SANDBOXES = 50, ROUNDS = 3 };
    struct samples each = { .name = "50 Python contexts in 50 sandboxes" };
    struct {
        char id[32];
    } sandboxes[SANDBOXES];
    char context[64];

    for (int round = -1; round < ROUNDS; round++) { /* the first one fills the caches */
        double before = available_mib();
        for (int i = 0; i < SANDBOXES; i++) {
            fresh_id(sandboxes[i].id);
            new_context(b, sandboxes[i].id, "python", context);
            run_code(b, sandboxes[i].id, context, "1+1", "\"text\":\"2\"");
        }
        sleep(1); /* the pool is full again, and what the kernel does later is done */
        if (round >= 0)
            samples_add(&each, (before - available_mib()) / SANDBOXES);
        for (int i = 0; i < SANDBOXES; i++)
            destroy(b, sandboxes[i].id);
        sleep(2); /* destroyed sandboxes give back their memory behind the answer */
    }
    double median = samples_percentile(&each, 0.5), least = samples_percentile(&each, 0);
    printf("%-52s min %.2f, median %.2f MiB each (n=%d)\n", each.name, least, median, ROUNDS);
    b->missed += !print_target(each.name, median, "MiB each, whole system", '<', 8);
    samples_free(&each);
}

int bench_interpreter(int argc, char **argv)
{
    struct bench b = { .c = conn_open(atoi(argv[0])) };
    int runs = argc > 1 ? atoi(argv[1]) : 50;

    first_result(&b, runs);
    living(&b, "python", runs, 8);
    living(&b, "javascript", runs, 15);
    libraries(&b, runs);
    memory(&b);
    conn_close(b.c);
    return b.missed;
}
