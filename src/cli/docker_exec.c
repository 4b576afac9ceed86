/*
 * docker_exec.c - exec and run: a command in a container with our standard streams.
 *
 * The connection of POST /exec/ID/start is taken over (Upgrade: tcp): our stdin goes out on it as it is, what comes
 * back is in frames of a stream number and a length.
 */
#include "cli/docker.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HEAD_MAX  8192
#define CHUNK     65536
#define FRAME     8
#define FRAME_MAX ((uint32_t)16 << 20)

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

/* --- the stream --- */

static int connect_socket(struct docker_cli *docker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || str_copy(str_from(docker->socket), address.sun_path, sizeof(address.sun_path)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        docker_fail(docker, "cannot connect to unix://%s: %s", docker->socket, strerror(errno));
        close_fd(&fd);
    }
    return fd;
}

static int write_out(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = RETRY_EINTR(write(fd, bytes.p, bytes.n));

        if (n < 0)
            return -1;
        bytes = (struct str){ bytes.p + n, bytes.n - (size_t)n };
    }
    return 0;
}

/* Reads up to the end of the head; what came behind it stays in `in`. The status, or -1. */
static int read_head(int fd, struct buf *in)
{
    const char *end;

    for (;;) {
        char *room = buf_reserve(in, CHUNK);
        ssize_t n = room ? RETRY_EINTR(read(fd, room, CHUNK)) : -1;

        if (n <= 0)
            return -1;
        buf_commit(in, (size_t)n);
        end = memmem(buf_head(in), in->len, "\r\n\r\n", 4);
        if (end)
            break;
        if (in->len > HEAD_MAX)
            return -1;
    }
    if (in->len < 12 || memcmp(buf_head(in), "HTTP/1.1 ", 9) != 0)
        return -1;
    int status = (buf_head(in)[9] - '0') * 100 + (buf_head(in)[10] - '0') * 10 + (buf_head(in)[11] - '0');
    buf_consume(in, (size_t)(end - buf_head(in)) + 4);
    return status;
}

/* Whole frames and parts of them to our stdout and stderr. `left`: of the frame that is being written. */
static int write_frames(struct buf *in, uint32_t *left, int *stream, int to_stdout)
{
    for (;;) {
        const unsigned char *p = (const unsigned char *)buf_head(in);
        size_t n;

        if (*left == 0) {
            if (in->len < FRAME)
                return 0;
            *stream = p[0] == 2 ? STDERR_FILENO : to_stdout;
            *left = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
            if (p[0] > 2 || *left > FRAME_MAX)
                return -1;
            buf_consume(in, FRAME);
            continue;
        }
        n = MIN(in->len, (size_t)*left);
        if (n == 0)
            return 0;
        if (write_out(*stream, (struct str){ buf_head(in), n }) < 0)
            return -1;
        buf_consume(in, n);
        *left -= (uint32_t)n;
    }
}

/* Until the other side ends. Our stdin is copied as it comes; its end is passed on. */
static int copy_streams(int fd, struct buf *in, bool with_stdin, int to_stdout)
{
    struct pollfd polls[2] = { { .fd = fd, .events = POLLIN },
                               { .fd = with_stdin ? STDIN_FILENO : -1, .events = POLLIN } };
    uint32_t left = 0;
    int stream = STDOUT_FILENO;
    char bytes[CHUNK];

    if (!with_stdin)
        shutdown(fd, SHUT_WR);
    for (;;) {
        ssize_t n;

        if (write_frames(in, &left, &stream, to_stdout) < 0)
            return -1;
        if (poll(polls, ARRAY_SIZE(polls), -1) < 0)
            return errno == EINTR ? 0 : -1;
        if (polls[1].revents) {
            n = RETRY_EINTR(read(STDIN_FILENO, bytes, sizeof(bytes)));
            if (n > 0 && write_out(fd, (struct str){ bytes, (size_t)n }) == 0)
                continue;
            shutdown(fd, SHUT_WR);
            polls[1].fd = -1;
        }
        if (polls[0].revents) {
            char *room = buf_reserve(in, CHUNK);

            n = room ? RETRY_EINTR(read(fd, room, CHUNK)) : -1;
            if (n <= 0)
                return n < 0 ? -1 : 0;
            buf_commit(in, (size_t)n);
        }
    }
}

static int run_stream(struct docker_cli *docker, const char *id, const struct docker_command_options *options)
{
    _cleanup_close_ int fd = connect_socket(docker);
    char head[512];
    struct buf in;
    int n, status, rc;

    if (fd < 0)
        return -1;
    n = snprintf(head, sizeof(head),
                 "POST /exec/%s/start HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                 "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                 id);
    buf_init(&in, (size_t)FRAME_MAX + CHUNK);
    status = write_out(fd, (struct str){ head, (size_t)n }) == 0 ? read_head(fd, &in) : -1;
    if (status != 101) {
        docker_fail(docker, "Error response from daemon: the command was not started (%d) %.*s", status,
                    (int)in.len, in.len ? buf_head(&in) : "");
        rc = -1;
    } else {
        rc = copy_streams(fd, &in, options->with_stdin, options->to_stderr ? STDERR_FILENO : STDOUT_FILENO);
    }
    buf_free(&in);
    return rc;
}

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
        return puts(id), STATUS_OK;
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

/* --- logs --- */

struct log_output {
    struct buf in;
    uint32_t left;
    int stream;
};

static int write_log(void *data, struct str piece)
{
    struct log_output *log = data;

    return buf_append_str(&log->in, piece) == 0 ? write_frames(&log->in, &log->left, &log->stream, STDOUT_FILENO)
                                                : -1;
}

int docker_cmd_logs(struct docker_cli *docker, int argc, char **argv)
{
    struct log_args {
        bool follow;
    } args = { 0 };
    static const struct docker_flag flags[] = { { 'f', "follow", FLAG_ON, offsetof(struct log_args, follow) },
                                                DOCKER_FLAGS_END };
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", NULL);
    struct cli_operands operands;
    struct log_output log = { .stream = STDOUT_FILENO };
    int rc;

    if (docker_flags(docker, flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count != 1)
        return docker_fail(docker, "logs needs a container");
    buf_init(&log.in, (size_t)FRAME_MAX + DOCKER_ANSWER_MAX);
    call.path = docker_path(docker, "/containers/%s/logs?stdout=1&stderr=1&follow=%d",
                            docker_encode(docker, operands.items[0]), args.follow);
    call.sink = write_log;
    call.sink_data = &log;
    rc = docker_do(docker, &call);
    buf_free(&log.in);
    return rc < 0 ? STATUS_FAILED : STATUS_OK;
}
