/*
 * threads.c - one client, many threads: each runs commands in the same sandbox at the same time.
 */
#include <berm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS  4
#define COMMANDS 5

struct worker {
    pthread_t thread;
    struct berm_client *client;
    const char *id;
    int number, sum;
    struct berm_problem problem; /* kind BERM_PROBLEM_NONE if all went well */
};

static void *run(void *data)
{
    struct worker *w = data;
    char text[32];
    const char *const argv[] = { "sh", "-c", text, NULL };
    const struct berm_exec exec = { .argv = argv };

    for (int i = 0; i < COMMANDS; i++) {
        int code;

        snprintf(text, sizeof(text), "exit %d", w->number);
        if (berm_sandbox_exec(w->client, w->id, &exec, &code, &w->problem) < 0)
            return NULL;
        w->sum += code;
    }
    return NULL;
}

static int work(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    struct worker workers[THREADS];
    int sum = 0, rc = 0;

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .client = client, .id = id, .number = i + 1 };
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0)
            abort();
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].sum;
        if (workers[i].problem.kind != BERM_PROBLEM_NONE) {
            *problem = workers[i].problem;
            rc = -1;
        }
    }
    printf("sum %d\n", sum);
    return rc;
}

int main(void)
{
    const struct berm_client_options options = { .url = getenv("BERM_URL"), .api_key = getenv("BERM_API_KEY") };
    struct berm_client *client;
    struct berm_problem problem;
    char *id;
    int rc;

    if (berm_client_new(&options, &client, &problem) < 0) {
        fprintf(stderr, "%s\n", problem.message);
        return EXIT_FAILURE;
    }
    rc = berm_sandbox_create(client, NULL, &id, NULL, &problem);
    if (rc == 0) {
        rc = work(client, id, &problem);
        berm_sandbox_delete(client, id, NULL);
        free(id);
    }
    berm_client_free(client);
    if (rc < 0)
        fprintf(stderr, "%s\n", problem.message);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
