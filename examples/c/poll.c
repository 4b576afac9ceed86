/*
 * poll.c - two streams in one poll(2): the output of a process, and the changes of files that it makes.
 */
#include <berm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct berm_problem *problem)
{
    fprintf(stderr, "%s (%s)\n", problem->message, problem->code);
    return EXIT_FAILURE;
}

/* Everything that is there now. 1 when the process has ended, -1 on a problem. */
static int show(struct berm_stream *stream, struct berm_problem *problem)
{
    struct berm_item item;
    int rc;

    while ((rc = berm_stream_next(stream, 0, &item, problem)) > 0) {
        if (item.kind == BERM_ITEM_STDOUT)
            printf("output: %.*s", (int)item.size, item.data);
        else if (item.kind == BERM_ITEM_EVENT && strcmp(item.name, "event") == 0 && strstr(item.data, "\"create\""))
            printf("a file was made\n");
        else if (item.kind == BERM_ITEM_EXIT)
            printf("exit: %d\n", item.exit_code);
        else if (item.kind == BERM_ITEM_END)
            return 1;
    }
    return rc;
}

/* The watch is in place with its first event. */
static int begin(struct berm_client *client, const char *id, struct berm_stream *streams[2],
                 struct berm_problem *problem)
{
    const struct berm_watch watch = { .path = "/workspace", .recursive = true };
    const struct berm_process_start start = { .command = "touch made; echo done; sleep 0.5" };
    struct berm_item item;
    char *process;
    int rc;

    if (berm_watch(client, id, &watch, &streams[1], problem) < 0 ||
        berm_stream_next(streams[1], -1, &item, problem) < 0 ||
        berm_process_start(client, id, &start, &process, problem) < 0)
        return -1;
    rc = berm_process_follow(client, id, process, 0, 0, &streams[0], problem);
    free(process);
    return rc;
}

static int work(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    struct berm_stream *streams[2] = { NULL, NULL };
    int rc = begin(client, id, streams, problem);

    while (rc == 0) {
        struct pollfd fds[2] = { { .fd = berm_stream_fd(streams[0]), .events = POLLIN },
                                 { .fd = berm_stream_fd(streams[1]), .events = POLLIN } };

        poll(fds, 2, -1);
        rc = show(streams[1], problem);
        if (rc == 0)
            rc = show(streams[0], problem);
    }
    berm_stream_close(streams[0]);
    berm_stream_close(streams[1]);
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
        rc = work(client, id, &problem);
        berm_sandbox_delete(client, id, NULL);
        free(id);
    }
    berm_client_free(client);
    return rc < 0 ? fail(&problem) : EXIT_SUCCESS;
}
