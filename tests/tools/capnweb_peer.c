/*
 * capnweb_peer.c - one end of a Cap'n Web session on a stream, for Node to be the other: messages are lines on
 * stdin and stdout, for no message has a newline in it.
 *
 *   capnweb_peer serve     has the object of capnweb_service.h
 *   capnweb_peer call      calls the other end's object: see drive()
 *   capnweb_peer replay FILE N   no peer: how long N times the messages of a file take, on stderr
 *
 * At the end of stdin it says on stderr what is left: "exports=1 imports=1 held=0".
 */
#include "base/loop.h"
#include "capnweb_service.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>
#include <time.h>

#define MESSAGE_MAX ((size_t)64 << 20)

static struct buf out, in;
static bool over;

static void on_send(struct str message, void *data)
{
    (void)data;
    if (buf_append_str(&out, message) < 0 || buf_append(&out, "\n", 1) < 0)
        abort();
}

static void on_fail(struct str reason, void *data)
{
    (void)data;
    fprintf(stderr, "failed: %.*s\n", (int)reason.n, reason.p);
    over = true;
}

static bool woken;

static void on_wake(void *data)
{
    (void)data;
    woken = true;
}

/* --- lines --- */

static void receive_lines(struct capnweb_session *session)
{
    const char *end;

    while (in.len > 0 && (end = memchr(buf_head(&in), '\n', in.len))) {
        size_t n = (size_t)(end - buf_head(&in));
        capnweb_receive(session, (struct str){ buf_head(&in), n });
        buf_consume(&in, n + 1);
    }
}

static bool read_some(struct capnweb_session *session)
{
    char *room = buf_reserve(&in, (size_t)1 << 18);
    ssize_t n = room ? RETRY_EINTR(read(STDIN_FILENO, room, (size_t)1 << 18)) : -1;

    if (n <= 0)
        return false;
    buf_commit(&in, (size_t)n);
    receive_lines(session);
    return true;
}

static void write_some(void)
{
    ssize_t n = RETRY_EINTR(write(STDOUT_FILENO, buf_head(&out), MIN(out.len, (size_t)65536)));

    if (n < 0)
        exit(1);
    buf_consume(&out, (size_t)n);
}

static void run(struct capnweb_session *session)
{
    for (;;) {
        struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                                 { .fd = STDOUT_FILENO, .events = POLLOUT } };
        while (woken) {
            woken = false;
            capnweb_run(session);
        }
        if (over && out.len == 0)
            return;
        if (poll(fds, out.len > 0 ? 2 : 1, -1) < 0)
            exit(1);
        if (out.len > 0 && (fds[1].revents & (POLLOUT | POLLERR)))
            write_some();
        if ((fds[0].revents & (POLLIN | POLLHUP)) && !read_some(session))
            return;
    }
}

/* --- calling --- */

static struct capnweb_session *the_session;

static struct capnweb_key key(const char *name)
{
    return (struct capnweb_key){ .name = str_from(name) };
}

static struct capnweb_import *start(struct capnweb_import *target, const char *method,
                                    const struct capnweb_value *args, size_t count)
{
    struct capnweb_key path = key(method);
    struct capnweb_import *result = capnweb_call_start(target, &path, 1, args, count);

    if (!result)
        abort();
    return result;
}

/* The other end is told each answer, as what JSON has of it, by its method "report". */
static void on_answer(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data)
{
    struct capnweb_value args[3] = { CAPNWEB_TEXT(str_from(data)), CAPNWEB_TRUTH(ok), *value };

    capnweb_import_unref(start(capnweb_main(the_session), "report", args, 3));
    capnweb_import_unref(import);
}

static void ask(struct capnweb_import *target, const char *method, const struct capnweb_value *args, size_t count)
{
    static char names[64][32];
    static size_t used;
    char *name = names[used++ % ARRAY_SIZE(names)];

    snprintf(name, sizeof(names[0]), "%s", method);
    capnweb_pull(start(target, method, args, count), on_answer, name);
}

static void function_call(struct capnweb_target *target, struct capnweb_call *call)
{
    const struct capnweb_value *arg = capnweb_arg(call, 0);

    (void)target;
    capnweb_resolve(call, CAPNWEB_NUMBER(arg && arg->type == CAPNWEB_INT ? arg->integer + 1 : -1));
}

static size_t stream_left = (size_t)10 << 20;

static void stream_ready(struct capnweb_pipe *pipe, void *data)
{
    static char chunk[65536];
    bool room = true;

    (void)data;
    while (room && stream_left > 0) {
        size_t n = MIN(stream_left, sizeof(chunk));
        stream_left -= n;
        room = capnweb_pipe_write(pipe, chunk, n);
    }
    if (stream_left == 0)
        capnweb_pipe_close(pipe);
}

static void stream_end(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data)
{
    struct capnweb_value args[3] = { CAPNWEB_TEXT(STR("stream end")), CAPNWEB_TRUTH(reason == NULL),
                                     CAPNWEB_NOTHING };

    (void)pipe;
    (void)data;
    capnweb_import_unref(start(capnweb_main(the_session), "report", args, 3));
}

/* What the test expects to be called with, in this order. */
static void drive(struct capnweb_session *session)
{
    static const struct capnweb_ops ops = { function_call, NULL };
    static struct capnweb_target function = { &ops, 1 };
    static const struct capnweb_pipe_ops pipe_ops = { stream_ready, stream_end };
    struct capnweb_import *main = capnweb_main(session), *counter;
    struct capnweb_value three = CAPNWEB_NUMBER(3), arg = CAPNWEB_OF_TARGET(&function);
    struct capnweb_value values[] = { CAPNWEB_NOTHING,
                                      { .type = CAPNWEB_DATE, .number = 1700000000123 },
                                      { .type = CAPNWEB_BIGINT, .string = STR("12345678901234567890") },
                                      { .type = CAPNWEB_BYTES, .string = { "\0\1\2\376\377", 5 } } };

    ask(main, "values", values, ARRAY_SIZE(values));
    ask(main, "fail", values, 0);
    counter = start(main, "makeCounter", &three, 1);
    ask(counter, "inc", &three, 1);
    capnweb_import_unref(counter);
    ask(main, "useFunction", &arg, 1);
    arg = CAPNWEB_OF_PIPE(capnweb_pipe_new(session, &pipe_ops, NULL));
    ask(main, "consume", &arg, 1);
    ask(main, "late", &three, 1);
}

/* --- replaying --- */

static int replay(const char *path, uint64_t times)
{
    struct capnweb_transport transport = { on_send, on_fail, on_wake, NULL };
    struct capnweb_limits limits;
    struct capnweb_session *session;
    FILE *file = fopen(path, "re");
    struct timespec begin, end;
    struct capnweb_stats stats;
    struct rusage usage;
    char *line = NULL;
    size_t size = 0, bytes = 0;
    ssize_t n;
    double seconds;

    capnweb_limits_default(&limits);
    session = capnweb_session_new(&transport, &limits, service_main());
    if (!file || !session)
        return 1;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (uint64_t i = 1; i <= times && !over; i++) {
        rewind(file);
        while ((n = getline(&line, &size, file)) > 0) {
            char message[256];
            const char *mark = n < 200 ? strchr(line, '#') : NULL; /* the number of this round */
            int m = mark ? snprintf(message, sizeof(message), "%.*s%" PRIu64 "%.*s", (int)(mark - line), line, i,
                                    (int)(line + n - 1 - mark - 1), mark + 1)
                         : 0;
            capnweb_receive(session,
                            mark ? (struct str){ message, (size_t)m } : (struct str){ line, (size_t)n - 1 });
            bytes += (size_t)n;
            buf_clear(&out);
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    capnweb_session_stats(session, &stats);
    getrusage(RUSAGE_SELF, &usage);
    fprintf(stderr, "rounds=%" PRIu64 " cpu=%.3f bytes=%zu exports=%u imports=%u held=%zu maxrss=%ld\n", times,
            seconds, bytes, stats.exports, stats.imports, stats.held, usage.ru_maxrss);
    capnweb_session_free(session);
    free(line);
    fclose(file);
    return over;
}

int main(int argc, char **argv)
{
    struct capnweb_transport transport = { on_send, on_fail, on_wake, NULL };
    struct capnweb_limits limits;
    struct capnweb_stats stats;
    uint64_t times;

    buf_init(&out, (size_t)1 << 30);
    buf_init(&in, 2 * MESSAGE_MAX);
    if (argc == 4 && strcmp(argv[1], "replay") == 0 && str_to_u64(str_from(argv[3]), &times) == 0)
        return replay(argv[2], times);
    if (argc != 2 || (strcmp(argv[1], "serve") != 0 && strcmp(argv[1], "call") != 0))
        return 2;
    capnweb_limits_default(&limits);
    limits.max_message = MESSAGE_MAX;
    the_session = capnweb_session_new(&transport, &limits, strcmp(argv[1], "serve") == 0 ? service_main() : NULL);
    if (!the_session)
        return 1;
    if (strcmp(argv[1], "call") == 0)
        drive(the_session);
    run(the_session);
    capnweb_session_stats(the_session, &stats);
    fprintf(stderr, "exports=%u imports=%u held=%zu\n", stats.exports, stats.imports, stats.held);
    capnweb_session_free(the_session);
    buf_free(&in);
    buf_free(&out);
    return 0;
}
