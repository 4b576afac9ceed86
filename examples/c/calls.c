/*
 * calls.c - calls under conditions of their own: one that is given up after a while, one that is sent twice and
 * done once; and a terminal that is opened without blocking.
 */
#include <berm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int fail(const struct berm_problem *problem)
{
    fprintf(stderr, "%s (%s)\n", problem->message, problem->code);
    return EXIT_FAILURE;
}

static int print(void *data, const void *bytes, size_t n)
{
    (void)data;
    return fwrite(bytes, 1, n, stdout) == n ? 0 : -1;
}

static int run(struct berm_client *client, const char *id, const char *command, struct berm_problem *problem)
{
    const char *const argv[] = { "sh", "-c", command, NULL };
    const struct berm_exec exec = { .argv = argv, .on_stdout = print };
    int status;

    return berm_sandbox_exec(client, id, &exec, &status, problem);
}

/* The timer ends this call and no other of the client's. */
static int give_up(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const struct itimerspec soon = { .it_value.tv_nsec = 200 * 1000 * 1000 };
    struct berm_with with = { .cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) };
    struct berm_client *one;
    int rc = -1;

    timerfd_settime(with.cancel_fd, 0, &soon, NULL);
    if (berm_client_with(client, &with, &one, problem) == 0) {
        rc = run(one, id, "exec sleep 60", problem);
        berm_client_free(one);
    }
    close(with.cancel_fd);
    if (rc == 0 || problem->kind != BERM_PROBLEM_CANCELLED)
        return -1;
    printf("given up\n");
    return run(client, id, "echo the client goes on", problem);
}

/* As after a connection that broke: nobody knows whether the first was run. */
static int send_twice(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const struct berm_with with = { .cancel_fd = -1, .idempotency_key = "order-17" };
    struct berm_client *one;
    int rc;

    if (berm_client_with(client, &with, &one, problem) < 0)
        return -1;
    rc = run(one, id, "echo run >>/tmp/runs; echo runs: $(grep -c . /tmp/runs)", problem);
    if (rc == 0)
        rc = run(one, id, "echo run >>/tmp/runs; echo runs: $(grep -c . /tmp/runs)", problem);
    berm_client_free(one);
    return rc;
}

/* The loop could have any number of other descriptors; nothing in it waits but poll(2). */
static int terminal(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    struct berm_terminal *terminal;
    struct berm_item item = { 0 };
    int rc = 0;

    if (berm_terminal_start(client, id, NULL, &terminal, problem) < 0)
        return -1;
    while (rc >= 0 && item.kind != BERM_ITEM_END) {
        struct pollfd wait = { .fd = berm_terminal_fd(terminal), .events = POLLIN };

        if (rc == 0)
            poll(&wait, 1, -1);
        rc = berm_terminal_next(terminal, 0, &item, problem);
        if (rc > 0 && item.kind == BERM_ITEM_EVENT && strcmp(item.name, "ready") == 0)
            rc = berm_terminal_write(terminal, "exit 5\n", 7, problem) < 0 ? -1 : 1;
        else if (rc > 0 && item.kind == BERM_ITEM_EXIT)
            printf("the terminal ended with %d\n", item.exit_code);
    }
    berm_terminal_close(terminal);
    return rc < 0 ? -1 : 0;
}

int main(void)
{
    const struct berm_client_options options = { .url = getenv("BERM_URL"), .api_key = getenv("BERM_API_KEY") };
    struct berm_client *client;
    struct berm_problem problem;
    char *id;
    int rc;

    if (berm_client_new(&options, &client, &problem) < 0)
        return fail(&problem);
    rc = berm_sandbox_create(client, NULL, &id, NULL, &problem);
    if (rc == 0) {
        rc = give_up(client, id, &problem);
        if (rc == 0)
            rc = send_twice(client, id, &problem);
        if (rc == 0)
            rc = terminal(client, id, &problem);
        berm_sandbox_delete(client, id, NULL);
        free(id);
    }
    berm_client_free(client);
    return rc < 0 ? fail(&problem) : EXIT_SUCCESS;
}
