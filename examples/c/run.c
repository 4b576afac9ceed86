/*
 * run.c - the first steps: a sandbox, a file, a command with its output as it comes, and the end.
 *
 *   cc run.c $(pkg-config --cflags --libs libberm) -o run && ./run
 */
#include <berm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct berm_problem *problem)
{
    fprintf(stderr, "%s (%s)\n", problem->message, problem->code);
    return EXIT_FAILURE;
}

static ssize_t from_text(void *data, void *bytes, size_t n)
{
    const char **text = data;
    size_t left = strlen(*text);

    if (n > left)
        n = left;
    memcpy(bytes, *text, n);
    *text += n;
    return (ssize_t)n;
}

static int to_stdout(void *data, const void *bytes, size_t n)
{
    (void)data;
    return fwrite(bytes, 1, n, stdout) == n ? 0 : -1;
}

static int work(struct berm_client *client, const char *id, struct berm_problem *problem)
{
    const char *const argv[] = { "sh", "-c", "wc -c <greeting; cat greeting; exit 7", NULL };
    const struct berm_exec exec = { .argv = argv, .on_stdout = to_stdout };
    const char *text = "hello from C\n";
    int code;

    if (berm_file_put(client, id, "/workspace/greeting", from_text, &text, (int64_t)strlen(text), problem) < 0 ||
        berm_sandbox_exec(client, id, &exec, &code, problem) < 0)
        return -1;
    printf("ended with %d\n", code);
    return 0;
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
