/* control_routes.c - what a container engine asks of pid 1: run this command, take this signal. */
#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "supervisor.h"

#include <signal.h>

#define ARGUMENTS_MAX 4096

/* The words, after the array that points to them, in one block that the agent keeps. NULL without memory. */
static char **copy_words(const struct json *list)
{
    size_t count = list->array.count, bytes = (count + 1) * sizeof(char *);
    char **words;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += list->array.items[i].string.n + 1;
    words = calloc(1, bytes);
    if (!words)
        return NULL;
    at = (char *)(words + count + 1);
    for (size_t i = 0; i < count; i++) {
        struct str word = list->array.items[i].string;

        words[i] = at;
        memcpy(at, word.p, word.n);
        at += word.n + 1;
    }
    return words;
}

/* NULL: answered. */
static char **take_argv(struct request *rq)
{
    const struct json *list = json_get(rq->body, "argv");
    char **words;

    if (!list || list->type != JSON_ARRAY || list->array.count == 0 || list->array.count > ARGUMENTS_MAX) {
        reply_invalid(rq, "argv", "must be an array of at least one string", "INVALID_COMMAND");
        return NULL;
    }
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *item = &list->array.items[i];

        if (item->type == JSON_STRING && !memchr(item->string.p, '\0', item->string.n))
            continue;
        reply_invalid(rq, "argv", "must hold strings without NUL only", "INVALID_COMMAND");
        return NULL;
    }
    words = copy_words(list);
    if (!words)
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
    return words;
}

static void reply_ok(struct request *rq)
{
    http_respond(rq->ex, 200, "application/json", STR("{\"ok\":true}"));
}

static char *const no_command[] = { NULL };

void handle_supervise(struct request *rq)
{
    struct agent *agent = rq->agent;
    const char *directory = NULL, *input = NULL, *problem;
    bool exits = false;
    struct berm_error err;
    char **argv;

    if (request_field_text(rq->body, "cwd", &directory, &err) < 0 ||
        request_field_text(rq->body, "stdin", &input, &err) < 0 ||
        json_field_bool(rq->body, "exitWithCommand", &exits, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    if (agent->command[0] || agent->shutdown.begun) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "This container has had its command already");
        return;
    }
    argv = take_argv(rq);
    if (!argv)
        return;
    agent->command = argv;
    agent->command_dir = directory;
    agent->exit_with_command = exits;
    agent->input = (struct command_input){ .open = input != NULL, .once = input && strcmp(input, "once") == 0 };
    agent->keep_log = true;
    command_log_init(&agent->log);
    problem = supervisor_launch(agent);
    agent->command_dir = NULL;
    if (!problem) {
        reply_ok(rq);
        return;
    }
    reply_error(rq, AGENT_E_COMMAND_EXECUTION_ERROR, NULL, 0, "%s: %s", argv[0], problem);
    agent->command = no_command;
    free(argv);
}

/* SIGTERM and SIGINT end the container in order; all others are for its command. */
void handle_signal(struct request *rq)
{
    struct berm_error err;
    int64_t signo = 0;

    if (json_field_int(rq->body, "signal", 1, SIGRTMAX, &signo, &err) < 0) {
        reply_invalid_field(rq, &err);
        return;
    }
    if (signo == 0) {
        reply_invalid(rq, "signal", "is missing", "INVALID_SIGNAL");
        return;
    }
    reply_ok(rq);
    if (signo == SIGTERM || signo == SIGINT)
        shutdown_begin(rq->agent, (int)signo);
    else
        supervisor_forward(rq->agent, (int)signo);
}
