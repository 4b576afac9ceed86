/* docker_exec.c - exec, run, attach and logs: a command in a container with our standard streams. */
#include "base/loop.h"
#include "cli/docker.h"
#include "cli/docker_stream.h"
#include "cli/units.h"

struct run_args {
    struct cli_list env, ports;
    const char *cwd, *name, *user, *entrypoint, *memory;
    bool interactive, tty, detach, remove;
};

/* clang-format off */
static const struct docker_flag exec_flags[] = {
    { 'i', "interactive", FLAG_ON, offsetof(struct run_args, interactive) },
    { 't', "tty", FLAG_ON, offsetof(struct run_args, tty) },
    { 'd', "detach", FLAG_ON, offsetof(struct run_args, detach) },
    { 'e', "env", FLAG_LIST, offsetof(struct run_args, env) },
    { 'w', "workdir", FLAG_TEXT, offsetof(struct run_args, cwd) },
    { 'u', "user", FLAG_TEXT, offsetof(struct run_args, user) },
    DOCKER_FLAGS_END
};
static const struct docker_flag run_flags[] = {
    { 'i', "interactive", FLAG_ON, offsetof(struct run_args, interactive) },
    { 't', "tty", FLAG_ON, offsetof(struct run_args, tty) },
    { 'd', "detach", FLAG_ON, offsetof(struct run_args, detach) },
    { 'e', "env", FLAG_LIST, offsetof(struct run_args, env) },
    { 'w', "workdir", FLAG_TEXT, offsetof(struct run_args, cwd) },
    { 'u', "user", FLAG_TEXT, offsetof(struct run_args, user) },
    { 'p', "publish", FLAG_LIST, offsetof(struct run_args, ports) },
    { 0, "name", FLAG_TEXT, offsetof(struct run_args, name) },
    { 0, "entrypoint", FLAG_TEXT, offsetof(struct run_args, entrypoint) },
    { 0, "rm", FLAG_ON, offsetof(struct run_args, remove) },
    { 0, "platform", FLAG_IGNORED_TEXT, 0 },
    { 0, "init", FLAG_IGNORED, 0 },
    DOCKER_FLAGS_END
};
/* clang-format on */

/* --- exec --- */

static void write_words(struct json_writer *w, const char *key, char *const *words)
{
    json_key(w, key);
    json_array_begin(w);
    for (; *words; words++)
        json_cstring(w, *words);
    json_array_end(w);
}

static void write_env(struct json_writer *w, const struct cli_list *env)
{
    json_key(w, "Env");
    json_array_begin(w);
    for (size_t i = 0; i < env->count; i++) {
        const char *value = strchr(env->items[i], '=') ? NULL : getenv(env->items[i]);
        char *pair = NULL;

        if (value && asprintf(&pair, "%s=%s", env->items[i], value) < 0)
            pair = NULL;
        if (pair || strchr(env->items[i], '='))
            json_cstring(w, pair ? pair : env->items[i]);
        free(pair);
    }
    json_array_end(w);
}

static const char *post_for_id(struct docker_cli *docker, const char *path, struct json_writer *w)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("POST", path);
    const struct json *answer;
    const char *id = NULL;

    if (json_writer_finish(w) < 0) {
        docker_fail(docker, "the arguments are too long");
        return NULL;
    }
    call.content_type = "application/json";
    call.body = buf_str(w->out);
    if (docker_do(docker, &call) == 0 && (answer = docker_json(docker, &call)))
        json_field_cstring(answer, "Id", &id, NULL);
    return id;
}

static int run_stream(struct docker_cli *docker, const char *id, const struct docker_command_options *options)
{
    const struct docker_stream stream = { .path = docker_path(docker, "/exec/%s/start", id),
                                          .body = "{}",
                                          .resize =
                                              options->tty ? docker_path(docker, "/exec/%s/resize", id) : NULL,
                                          .with_stdin = options->with_stdin,
                                          .to_stdout = options->to_stderr ? STDERR_FILENO : STDOUT_FILENO };

    return docker_stream_run(docker, &stream);
}

/* The command's exit status, or -1: told. */
int docker_run_command(struct docker_cli *docker, const char *container, char *const *argv,
                       const struct docker_command_options *options)
{
    _cleanup_docker_call_ struct docker_call inspect = DOCKER_CALL("GET", NULL);
    const struct json *state;
    struct json_writer w;
    struct buf body;
    const char *id;
    int64_t code = -1;

    buf_init(&body, DOCKER_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    write_words(&w, "Cmd", argv);
    write_env(&w, &options->env);
    json_pair_bool(&w, "AttachStdin", options->with_stdin);
    json_pair_bool(&w, "AttachStdout", true);
    json_pair_bool(&w, "AttachStderr", true);
    json_pair_bool(&w, "Tty", options->tty);
    if (options->cwd)
        json_pair_cstring(&w, "WorkingDir", options->cwd);
    if (options->user)
        json_pair_cstring(&w, "User", options->user);
    json_object_end(&w);
    id = post_for_id(docker, docker_path(docker, "/containers/%s/exec", docker_encode(docker, container)), &w);
    buf_free(&body);
    if (!id || run_stream(docker, id, options) < 0)
        return -1;
    inspect.path = docker_path(docker, "/exec/%s/json", id);
    if (docker_do(docker, &inspect) < 0 || !(state = docker_json(docker, &inspect)))
        return -1;
    if (json_field_int(state, "ExitCode", 0, 255, &code, NULL) < 0 || code < 0) {
        docker_fail(docker, "the command ended without a status");
        return -1;
    }
    return (int)code;
}

int docker_cmd_exec(struct docker_cli *docker, int argc, char **argv)
{
    struct docker_command_options options = { 0 };
    struct run_args args = { 0 };
    struct cli_operands operands;
    int status;

    if (docker_flags(docker, exec_flags, &args, true, argc, argv, &operands) < 0)
        return STATUS_COMMAND_FAILED;
    if (operands.count < 2)
        return docker_fail(docker, "exec needs CONTAINER COMMAND"), STATUS_COMMAND_FAILED;
    if (args.detach)
        return docker_fail(docker, "exec --detach is not here: add & to a shell's command"), STATUS_COMMAND_FAILED;
    options = (struct docker_command_options){
        .env = args.env, .cwd = args.cwd, .user = args.user, .with_stdin = args.interactive, .tty = args.tty
    };
    status = docker_run_command(docker, operands.items[0], operands.items + 1, &options);
    return status < 0 ? STATUS_COMMAND_FAILED : status;
}

/* --- run --- */

/* "8080:80" or "80" */
static void write_ports(struct json_writer *w, const struct cli_list *ports)
{
    json_key(w, "PortBindings");
    json_object_begin(w);
    for (size_t i = 0; i < ports->count; i++) {
        const char *colon = strrchr(ports->items[i], ':'), *inside = colon ? colon + 1 : ports->items[i];
        const char *outside = ports->items[i];
        char key[32], host[32];

        for (const char *c = outside; colon && c < colon; c++)
            if (*c == ':')
                outside = c + 1;
        snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - outside) : 0, outside);
        snprintf(key, sizeof(key), "%.20s%s", inside, strchr(inside, '/') ? "" : "/tcp");
        json_key(w, key);
        json_array_begin(w);
        json_object_begin(w);
        json_pair_cstring(w, "HostPort", host);
        json_object_end(w);
        json_array_end(w);
    }
    json_object_end(w);
}

/* With `command` it is the container's own; else the container waits for one. */
static const char *create(struct docker_cli *docker, const struct run_args *args, const char *image,
                          char *const *command)
{
    struct json_writer w;
    struct buf body;
    const char *id;

    buf_init(&body, DOCKER_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, "Image", image);
    write_env(&w, &args->env);
    if (args->cwd)
        json_pair_cstring(&w, "WorkingDir", args->cwd);
    if (command[0])
        write_words(&w, "Cmd", command);
    if (args->entrypoint) {
        char *const words[] = { (char *)(uintptr_t)args->entrypoint, NULL };

        write_words(&w, "Entrypoint", words);
    }
    if (command[0])
        json_pair_bool(&w, "OpenStdin", args->interactive);
    json_key(&w, "HostConfig");
    json_object_begin(&w);
    write_ports(&w, &args->ports);
    json_object_end(&w);
    json_object_end(&w);
    id = post_for_id(
        docker,
        docker_path(docker, "/containers/create?name=%s", args->name ? docker_encode(docker, args->name) : ""), &w);
    buf_free(&body);
    return id;
}

static int simple(struct docker_cli *docker, const char *method, const char *path)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL(method, path);

    return docker_do(docker, &call);
}

int docker_cmd_run(struct docker_cli *docker, int argc, char **argv)
{
    char *const nothing[] = { NULL };
    struct docker_command_options options = { 0 };
    struct run_args args = { 0 };
    struct cli_operands operands;
    const char *id;
    int status;

    if (docker_flags(docker, run_flags, &args, true, argc, argv, &operands) < 0)
        return STATUS_COMMAND_FAILED;
    if (operands.count < 1 || (!args.detach && operands.count < 2))
        return docker_fail(docker, "run needs IMAGE COMMAND, or --detach IMAGE"), STATUS_COMMAND_FAILED;
    id = create(docker, &args, operands.items[0], args.detach ? operands.items + 1 : nothing);
    if (!id)
        return STATUS_COMMAND_FAILED;
    if (simple(docker, "POST", docker_path(docker, "/containers/%s/start", id)) < 0)
        status = -1;
    else if (args.detach)
        return print_line(docker->cli, id);
    else {
        options = (struct docker_command_options){
            .env = args.env, .cwd = args.cwd, .user = args.user, .with_stdin = args.interactive, .tty = args.tty
        };
        status = docker_run_command(docker, id, operands.items + 1, &options);
    }
    simple(docker, args.remove || status < 0 ? "DELETE" : "POST",
           docker_path(docker, args.remove || status < 0 ? "/containers/%s?force=1" : "/containers/%s/kill", id));
    return status < 0 ? STATUS_COMMAND_FAILED : status;
}

/* --- attach --- */

/* Whether the container was made with a standard input; -1: told. */
static int has_stdin(struct docker_cli *docker, const char *container)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("GET", docker_path(docker, "/containers/%s/json", docker_encode(docker, container)));
    const struct json *answer;
    bool open = false;

    if (docker_do(docker, &call) < 0 || !(answer = docker_json(docker, &call)))
        return -1;
    json_field_bool(json_get(answer, "Config"), "OpenStdin", &open, NULL);
    return open;
}

int docker_cmd_attach(struct docker_cli *docker, int argc, char **argv)
{
    struct attach_args {
        bool no_stdin;
    } args = { 0 };
    static const struct docker_flag flags[] = { { 0, "no-stdin", FLAG_ON, offsetof(struct attach_args, no_stdin) },
                                                { 0, "sig-proxy", FLAG_IGNORED_TEXT, 0 },
                                                DOCKER_FLAGS_END };
    int open = 0;
    struct docker_stream stream = { .body = "", .to_stdout = STDOUT_FILENO };
    struct cli_operands operands;

    if (docker_flags(docker, flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count != 1)
        return docker_fail(docker, "attach needs a container");
    if (!args.no_stdin && (open = has_stdin(docker, operands.items[0])) < 0)
        return STATUS_FAILED;
    stream.with_stdin = open;
    stream.path = docker_path(docker, "/containers/%s/attach?stream=1&stdout=1&stderr=1&stdin=%d",
                              docker_encode(docker, operands.items[0]), open);
    return docker_stream_run(docker, &stream) < 0 ? STATUS_FAILED : STATUS_OK;
}

/* --- logs --- */

static int write_log(void *data, struct str piece)
{
    return docker_frames_write(data, piece);
}

/* "10m" is so long ago; everything else is the daemon's to judge. */
static const char *moment(struct docker_cli *docker, const char *text)
{
    int64_t ms;

    if (!text)
        return "";
    if (text[strspn(text, "0123456789.")] == '\0' || parse_duration(text, &ms) < 0)
        return docker_encode(docker, text);
    ms = clock_realtime_ms() - ms;
    return docker_path(docker, "%lld.%03lld", (long long)(ms / 1000), (long long)(ms % 1000));
}

int docker_cmd_logs(struct docker_cli *docker, int argc, char **argv)
{
    struct log_args {
        bool follow, timestamps;
        const char *tail, *since, *until;
    } args = { 0 };
    static const struct docker_flag flags[] = { { 'f', "follow", FLAG_ON, offsetof(struct log_args, follow) },
                                                { 't', "timestamps", FLAG_ON,
                                                  offsetof(struct log_args, timestamps) },
                                                { 'n', "tail", FLAG_TEXT, offsetof(struct log_args, tail) },
                                                { 0, "since", FLAG_TEXT, offsetof(struct log_args, since) },
                                                { 0, "until", FLAG_TEXT, offsetof(struct log_args, until) },
                                                DOCKER_FLAGS_END };
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", NULL);
    struct cli_operands operands;
    struct docker_frames frames = { .to_stdout = STDOUT_FILENO };
    int rc;

    if (docker_flags(docker, flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count != 1)
        return docker_fail(docker, "logs needs a container");
    docker_frames_init(&frames);
    call.path = docker_path(
        docker, "/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&tail=%s&since=%s&until=%s",
        docker_encode(docker, operands.items[0]), args.follow, args.timestamps,
        args.tail ? docker_encode(docker, args.tail) : "", moment(docker, args.since), moment(docker, args.until));
    call.sink = write_log;
    call.sink_data = &frames;
    rc = docker_do(docker, &call);
    docker_frames_free(&frames);
    return rc < 0 ? STATUS_FAILED : STATUS_OK;
}
