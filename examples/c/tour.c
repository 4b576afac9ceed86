/*
 * tour.c - a little of everything: files, limits, processes, a terminal, an archive, an error and its code.
 */
#include <berm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int files(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    struct berm_file_list *list;
    bool there;

    if (berm_file_mkdir(client, id, "/workspace/a/b", true, problem) < 0 ||
        berm_file_move(client, id, "/workspace/a/b", "/workspace/a/c", problem) < 0 ||
        berm_file_exists(client, id, "/workspace/a/b", &there, problem) < 0 ||
        berm_file_list(client, id, "/workspace/a", false, false, &list, problem) < 0)
        return -1;
    for (size_t i = 0; i < list->count; i++)
        printf("%s: %s\n", list->items[i].type, list->items[i].path);
    printf("moved: %s\n", there ? "no" : "yes");
    berm_file_list_free(list);
    return 0;
}

static int limits(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const struct berm_exec_limits limits = { .output_bytes = 1000, .no_network = true };
    const char *const argv[] = { "yes", NULL };
    struct berm_usage usage;
    const struct berm_exec exec = { .argv = argv, .limits = &limits, .ret_usage = &usage };
    int code;

    if (berm_sandbox_exec(client, id, &exec, &code, problem) < 0)
        return -1;
    printf("ended with %d because of %s; time is known: %s\n", code, usage.reason,
           usage.cpu_ms >= 0 ? "yes" : "no");
    return 0;
}

static int processes(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const struct berm_process_start start = { .command = "read line; echo \"got $line\"",
                                              .id = "reader",
                                              .has_stdin = true };
    struct berm_process_list *list;
    struct berm_stream *stream;
    struct berm_item item;
    char *process;
    int rc;

    if (berm_process_start(client, id, &start, &process, problem) < 0)
        return -1;
    free(process);
    if (berm_process_get(client, id, "reader", &list, problem) < 0)
        return -1;
    printf("%s is %s\n", list->items[0].id, list->items[0].status);
    berm_process_list_free(list);
    if (berm_process_input(client, id, "reader", "words\n", 6, true, problem) < 0 ||
        berm_process_follow(client, id, "reader", 0, 0, &stream, problem) < 0)
        return -1;
    while ((rc = berm_stream_next(stream, -1, &item, problem)) > 0 && item.kind != BERM_ITEM_END)
        if (item.kind == BERM_ITEM_STDOUT)
            printf("%.*s", (int)item.size, item.data);
    berm_stream_close(stream);
    return rc < 0 ? -1 : 0;
}

static int terminal(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const struct berm_terminal_options options = { .cols = 100, .rows = 40 };
    struct berm_terminal *t;
    struct berm_item item;
    int rc;

    if (berm_terminal_open(client, id, &options, &t, problem) < 0)
        return -1;
    rc = berm_terminal_write(t, "exit 5\n", 7, problem);
    while (rc >= 0 && (rc = berm_terminal_next(t, -1, &item, problem)) > 0 && item.kind != BERM_ITEM_END)
        if (item.kind == BERM_ITEM_EXIT)
            printf("the terminal ended with %d\n", item.exit_code);
    berm_terminal_close(t);
    return rc < 0 ? -1 : 0;
}

static int archive(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    struct berm_stream *stream;
    struct berm_item item;
    size_t size = 0;
    int rc;

    if (berm_persist(client, id, NULL, &stream, problem) < 0)
        return -1;
    while ((rc = berm_stream_next(stream, -1, &item, problem)) > 0 && item.kind != BERM_ITEM_END)
        size += item.size;
    printf("an archive of whole blocks: %s\n", size > 0 && size % 512 == 0 ? "yes" : "no");
    berm_stream_close(stream);
    return rc < 0 ? -1 : 0;
}

static void error(struct berm_client *client, const char *id)
{
    struct berm_problem problem;

    if (berm_file_delete(client, id, "/workspace/none", &problem) < 0)
        printf("%d %s\n", problem.http_status, problem.code);
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
        rc = files(client, id, &problem) < 0 || limits(client, id, &problem) < 0 ||
                     processes(client, id, &problem) < 0 || terminal(client, id, &problem) < 0 ||
                     archive(client, id, &problem) < 0
                 ? -1
                 : 0;
        error(client, id);
        berm_sandbox_delete(client, id, NULL);
        free(id);
    }
    berm_client_free(client);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", problem.message, problem.code);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
