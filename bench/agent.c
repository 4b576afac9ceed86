/*
 * agent.c - the control server by itself, without a daemon before it, as upstream's figures were taken: those stand
 * in the rows (reference "upstream-figures", the same kind of machine) beside ours.
 */
#include "agent.h"

#include "http.h"
#include "stats.h"

#include <arpa/inet.h>
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONLESS "__DISABLE_SESSION__"
#define LOG_BYTES   (200.0 * 1000 * 1000)

static int port, missed;

static void target(const char *what, double value, const char *unit, char side, double limit)
{
    missed += !print_target(what, value, unit, side, limit);
}

static void execute(struct conn *c, const char *session, const char *command)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"sessionId\":\"%s\",\"command\":\"%s\"}", session, command);
    conn_expect(c, "POST", "/api/execute", body, 200);
    if (!strstr(c->body, "\"exitCode\":0"))
        errx(1, "execute did not succeed: %.300s", c->body);
}

static void start(struct conn *c, const char *session, const char *command, char id[64])
{
    char body[512], *at;

    snprintf(body, sizeof(body), "{\"sessionId\":\"%s\",\"command\":\"%s\"}", session, command);
    conn_expect(c, "POST", "/api/process/start", body, 200);
    at = strstr(c->body, "\"processId\":\"") + strlen("\"processId\":\"");
    snprintf(id, 64, "%.*s", (int)strcspn(at, "\""), at);
}

/* --- streams: one connection each, read as the bytes come --- */

struct stream {
    int fd;
    char bytes[1 << 18];
    size_t n;     /* in `bytes`, of the last read and the end of the one before */
    double total; /* read so far */
};

static void stream_open(struct stream *s, const char *method, const char *path, const char *body)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    char head[1024];
    int n;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    s->n = 0;
    s->total = 0;
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        err(1, "connect");
    n = snprintf(head, sizeof(head),
                 "%s %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method,
                 path, strlen(body), body);
    if (write(s->fd, head, (size_t)n) != n)
        err(1, "write");
}

/* False at the end. */
static int stream_read(struct stream *s)
{
    ssize_t n = read(s->fd, s->bytes, sizeof(s->bytes) - 1);

    if (n < 0)
        err(1, "read");
    s->n = (size_t)n;
    s->total += (double)n;
    s->bytes[n] = '\0';
    return n > 0;
}

static void stream_until(struct stream *s, const char *text)
{
    while (s->n == 0 || !strstr(s->bytes, text))
        if (!stream_read(s))
            errx(1, "a stream ended before \"%s\": %.300s", text, s->bytes);
}

static void stream_rows(const char *session, const char *label, double first_byte, double first_output)
{
    struct samples byte = { .name = "first byte" }, start = { .name = "start event" };
    struct samples output = { .name = "first output" };
    struct samples complete = { .name = "complete" };
    static struct stream s;
    char body[128], what[96];

    snprintf(body, sizeof(body), "{\"sessionId\":\"%s\",\"command\":\"echo x\"}", session);
    for (int i = -20; i < 300; i++) {
        double t[5];
        t[0] = now_us();
        stream_open(&s, "POST", "/api/execute/stream", body);
        stream_until(&s, "HTTP/1.1 200 ");
        t[1] = now_us();
        stream_until(&s, "\"type\":\"start\"");
        t[2] = now_us();
        stream_until(&s, "\"type\":\"stdout\"");
        t[3] = now_us();
        stream_until(&s, "\"type\":\"complete\"");
        t[4] = now_us();
        close(s.fd);
        if (i < 0)
            continue;
        samples_add(&byte, t[1] - t[0]);
        samples_add(&start, t[2] - t[0]);
        samples_add(&output, t[3] - t[0]);
        samples_add(&complete, t[4] - t[0]);
    }
    printf("execute/stream %s, with its connection (upstream 9.3, 110 and 110 ms)\n", label);
    print_samples(&byte);
    print_samples(&start);
    print_samples(&output);
    print_samples(&complete);
    snprintf(what, sizeof(what), "stream %s, first byte, p50", label);
    target(what, samples_percentile(&byte, .5) / 1e3, "ms", '<', first_byte);
    snprintf(what, sizeof(what), "stream %s, first output, p50", label);
    target(what, samples_percentile(&output, .5) / 1e3, "ms", '<', first_output);
    samples_free(&byte);
    samples_free(&start);
    samples_free(&output);
    samples_free(&complete);
}

/* --- processes --- */

static void process_rows(struct conn *c, const char *session, const char *label)
{
    struct samples started = { .name = "start" }, killed = { .name = "start and kill" };
    char id[64], path[128], what[96];

    for (int i = -20; i < 300; i++) {
        double t[3];
        t[0] = now_us();
        start(c, session, "sleep 100", id);
        t[1] = now_us();
        snprintf(path, sizeof(path), "/api/process/%s", id);
        conn_expect(c, "DELETE", path, NULL, 200);
        t[2] = now_us();
        if (i < 0)
            continue;
        samples_add(&started, t[1] - t[0]);
        samples_add(&killed, t[2] - t[0]);
    }
    printf("processes %s (upstream 8.0 and 61 ms)\n", label);
    print_samples(&started);
    print_samples(&killed);
    snprintf(what, sizeof(what), "process start %s, p50", label);
    target(what, samples_percentile(&started, .5) / 1e3, "ms", '<', 1.5);
    snprintf(what, sizeof(what), "process start and kill %s, p50", label);
    target(what, samples_percentile(&killed, .5) / 1e3, "ms", '<', 3);
    samples_free(&started);
    samples_free(&killed);
}

static void kill_all_row(struct conn *c)
{
    struct samples all = { .name = "kill-all of 43" };
    char id[64];

    for (int round = 0; round < 10; round++) {
        double begun;
        for (int i = 0; i < 43; i++)
            start(c, i % 2 ? SESSIONLESS : "bench", "sleep 100", id);
        begun = now_us();
        conn_expect(c, "DELETE", "/api/process/kill-all", NULL, 200);
        samples_add(&all, now_us() - begun);
        if (!strstr(c->body, "\"cleanedCount\":43"))
            errx(1, "kill-all: %.300s", c->body);
    }
    print_samples(&all);
    target("kill-all of 43 (upstream 2157), p50", samples_percentile(&all, .5) / 1e3, "ms", '<', 50);
    samples_free(&all);
}

static void log_row(struct conn *c, const char *session, const char *label)
{
    static struct stream s;
    char id[64], path[128], what[96];
    double best = 0;

    for (int round = 0; round < 5; round++) {
        double begun, rate;
        start(c, session, "cat /tmp/bench-log", id);
        snprintf(path, sizeof(path), "/api/process/%s/stream", id);
        begun = now_us();
        stream_open(&s, "GET", path, "");
        while (stream_read(&s))
            ;
        rate = s.total / (now_us() - begun);
        close(s.fd);
        if (s.total < LOG_BYTES)
            errx(1, "the log stream was cut: %.0f bytes", s.total);
        best = rate > best ? rate : best;
    }
    snprintf(what, sizeof(what), "log stream %s into one reader, best of 5", label);
    target(what, best, "MB/s", '>', 500);
}

/* --- small calls --- */

static void small_row(struct conn *c, const char *what, const char *path, const char *body, double limit)
{
    struct samples s = { .name = what };

    for (int i = -20; i < 300; i++) {
        double begun = now_us();
        conn_expect(c, "POST", path, body, 200);
        if (i >= 0)
            samples_add(&s, now_us() - begun);
    }
    target(what, samples_percentile(&s, .5) / 1e3, "ms", '<', limit);
    samples_free(&s);
}

static void small_rows(struct conn *c)
{
    execute(c, "bench", "mkdir -p /tmp/hundred; cd /tmp/hundred; touch $(seq 100); cd /workspace");
    small_row(c, "session exec of a builtin (upstream 51.5), p50", "/api/execute",
              "{\"sessionId\":\"bench\",\"command\":\":\"}", 0.15);
    small_row(c, "list-files of 100 (upstream 119), p50", "/api/list-files",
              "{\"sessionId\":\"bench\",\"path\":\"/tmp/hundred\"}", 0.5);
    small_row(c, "exists (upstream 52), p50", "/api/exists",
              "{\"sessionId\":\"bench\",\"path\":\"/tmp/hundred/1\"}", 0.2);
}

/* --- long rows --- */

struct session_worker {
    pthread_t thread;
    int number;
    double until;
    long done;
};

/* Any failure ends the benchmark. */
static void *session_body(void *data)
{
    struct session_worker *w = data;
    struct conn *c = conn_open(port);
    char session[32];

    snprintf(session, sizeof(session), "many-%d", w->number);
    for (; now_us() < w->until; w->done++)
        execute(c, session, w->done % 2 ? "/bin/true" : "echo $((6 * 7))");
    conn_close(c);
    return NULL;
}

static void sessions_row(double seconds)
{
    static struct session_worker workers[32];
    const int count = (int)(sizeof(workers) / sizeof(workers[0]));
    long done = 0;
    char what[96];

    for (int i = 0; i < count; i++) {
        workers[i] = (struct session_worker){ .number = i, .until = now_us() + seconds * 1e6 };
        if (pthread_create(&workers[i].thread, NULL, session_body, &workers[i]) != 0)
            errx(1, "pthread_create");
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
    }
    snprintf(what, sizeof(what), "32 sessions at once for %.0f s (upstream died at 8), none failed", seconds);
    target(what, (double)done / seconds, "per second", '>', 253);
}

static double anonymous_kib(const char *pid)
{
    char path[64], line[256];
    double kib = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%s/status", pid);
    file = fopen(path, "r");
    if (!file)
        err(1, "%s", path);
    while (kib < 0 && fgets(line, sizeof(line), file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtod(line + 8, NULL);
    fclose(file);
    return kib;
}

static void memory_row(struct conn *c, const char *pid, long commands)
{
    double before, after;
    char what[96];

    for (int i = 0; i < 500; i++)
        execute(c, i % 2 ? SESSIONLESS : "memory", "echo x");
    before = anonymous_kib(pid);
    for (long i = 0; i < commands; i++)
        execute(c, i % 2 ? SESSIONLESS : "memory", "echo x");
    after = anonymous_kib(pid);
    printf("idle memory of the agent (anonymous): %.0f KiB after 500 commands, %.0f after %ld more\n", before,
           after, commands);
    snprintf(what, sizeof(what), "growth of it over %ld commands", commands);
    target(what, after - before, "KiB", '<', 16);
}

int bench_agent(int argc, char **argv)
{
    struct conn *c;

    (void)argc;
    port = atoi(argv[0]);
    c = conn_open(port);
    memory_row(c, argv[1], atol(argv[3])); /* first: records of processes stay */
    small_rows(c);
    stream_rows("bench", "in a session", 0.5, 1.5);
    stream_rows(SESSIONLESS, "without a session", 0.5, 1.5);
    process_rows(c, "bench", "in a session");
    process_rows(c, SESSIONLESS, "without a session");
    kill_all_row(c);
    execute(c, "bench",
            "for i in {1..20000}; do printf '%099d\\\\n' $i; done >/tmp/part; for i in {1..100}; do cat /tmp/part; "
            "done >/tmp/bench-log");
    log_row(c, "bench", "in a session");
    log_row(c, SESSIONLESS, "without a session");
    execute(c, "bench", "rm /tmp/bench-log /tmp/part");
    sessions_row(strtod(argv[2], NULL));
    conn_close(c);
    return missed;
}
