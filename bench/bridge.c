#include "bridge.h"

#include "http.h"
#include "stats.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTED 1000

/* Letters of the bridge's alphabet; a name for each number. */
static const char *path_of(int number, const char *rest)
{
    static char path[128];
    char name[5] = { 0 };

    for (int i = 0; i < 4; i++, number /= 26)
        name[i] = (char)('a' + number % 26);
    snprintf(path, sizeof(path), "/v1/sandbox/bridge%s%s", name, rest);
    return path;
}

static int create_from_pool(struct conn *c, int runs)
{
    struct samples create = { .name = "PUT of a new sandbox" };
    int met;

    for (int i = 0; i < runs; i++) {
        double start = now_us();
        conn_expect(c, "PUT", path_of(i, ""), "{}", 201);
        samples_add(&create, now_us() - start);
        conn_expect(c, "DELETE", path_of(i, ""), NULL, 204);
        usleep(20000); /* the pool's turn, as a user's pace gives it */
    }
    print_samples(&create);
    met = print_target("creation from the pool, p50", samples_percentile(&create, .5) / 1e3, "ms", '<', 0.5);
    samples_free(&create);
    return !met;
}

static int exec(struct conn *c, const char *what, const char *headers, const char *body, int runs)
{
    struct samples samples = { .name = what };
    int met;

    c->headers = headers;
    for (int i = -20; i < runs; i++) {
        double start = now_us();
        conn_expect(c, "POST", path_of(0, "/exec"), body, 200);
        if (i >= 0)
            samples_add(&samples, now_us() - start);
        if (!strstr(c->body, "\"exit_code\":0"))
            errx(1, "%s did not succeed: %.300s", what, c->body);
    }
    c->headers = NULL;
    print_samples(&samples);
    met = print_target(what, samples_percentile(&samples, .5) / 1e3, "ms", '<', 0.6);
    samples_free(&samples);
    return !met;
}

/* All of them live; a page holds a thousand. */
static int list(struct conn *c, int runs)
{
    struct samples samples = { .name = "GET /v1/sandboxes, 1,000 of them" };
    int met;

    for (int i = 0; i < LISTED; i++)
        conn_expect(c, "PUT", path_of(i, ""), "{\"labels\":{\"team\":\"a\"}}", i == 0 ? 200 : 201);
    for (int i = 0; i < runs; i++) {
        double start = now_us();
        conn_expect(c, "GET", "/v1/sandboxes?limit=1000", NULL, 200);
        samples_add(&samples, now_us() - start);
    }
    for (int i = 0; i < LISTED; i++)
        conn_expect(c, "DELETE", path_of(i, ""), NULL, 204);
    print_samples(&samples);
    met = print_target("a list of 1,000, p99", samples_percentile(&samples, .99) / 1e3, "ms", '<', 100);
    samples_free(&samples);
    return !met;
}

int bench_bridge(int argc, char **argv)
{
    struct conn *c = conn_open(atoi(argv[0]));
    int runs = atoi(argv[1]), missed = 0;

    (void)argc;
    printf("the bridge's API\n");
    missed += create_from_pool(c, runs);
    missed += exec(c, "exec in a session, p50", "Session-Id: bench\r\n", "{\"argv\":[\"true\"]}", 3 * runs);
    missed += exec(c, "exec of /bin/true, p50", NULL, "{\"argv\":[\"/bin/true\"]}", 3 * runs);
    missed += list(c, runs);
    conn_close(c);
    return missed;
}
