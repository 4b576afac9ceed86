/*
 * backup_upload.c - POST /api/backup/upload-parts: ranges of an archive are put to the URLs that the client has
 * signed.
 *
 * The agent speaks no TLS, so each part has a curl of its own, as the client itself uses for archives of one piece;
 * a few run at once. The first part that is given up stops the others, and the answer comes when none runs any
 * more. What a URL asks for is a secret: no message quotes one.
 */
#include "agent/agent.h"
#include "backup.h"

#include <sys/stat.h>

#define AT_ONCE    8
#define ATTEMPTS   3
#define OUTPUT_MAX ((size_t)64 * 1024)

/* $1 archive, $2 offset, $3 size, $4 URL. From a pipe, curl would send chunks, which S3 refuses. */
#define PUT_PART                                                                                                   \
    "dd if=\"$1\" bs=1M iflag=skip_bytes,count_bytes,fullblock skip=\"$2\" count=\"$3\" status=none | "            \
    "curl -q -sS -g --proto =https --http1.1 --max-time 1800 -o /dev/null -D - -T - -H 'Transfer-Encoding:' "      \
    "-H 'Expect:' -H \"Content-Length: $3\" -H 'Content-Type: application/octet-stream' --url \"$4\""

struct part {
    struct upload *upload;
    const char *url;
    int64_t number, offset, size;
    unsigned attempts;
    struct collector said; /* the heads of the answers */
    struct child *child;   /* NULL: does not run */
    struct str etag;       /* with its quotes, in the request's arena */
};

struct upload {
    struct request *rq;
    const char *archive;
    char *const *envp;
    struct part *parts;
    size_t count, started, running;
    bool failed; /* and `why` says at which part */
    const char *why;
    int64_t failed_number;
};

static void upload_free(struct upload *u)
{
    request_unhold(u->rq);
    free(u);
}

static void reply_failed(struct upload *u)
{
    struct context_item context[] = { CTX_STR("operation", BACKUP_CREATE), CTX_STR("archivePath", u->archive),
                                      CTX_INT("partNumber", u->failed_number) };

    reply_error(u->rq, AGENT_E_BACKUP_CREATE_FAILED, context, u->failed_number ? 3 : 2, "%s", u->why);
}

static int by_number(const void *a, const void *b)
{
    const struct part *one = a, *other = b;

    return one->number < other->number ? -1 : one->number > other->number;
}

static void reply_uploaded(struct upload *u)
{
    struct reply reply;

    qsort(u->parts, u->count, sizeof(*u->parts), by_number);
    reply_begin(&reply);
    json_key(&reply.w, "parts");
    json_array_begin(&reply.w);
    for (size_t i = 0; i < u->count; i++) {
        json_object_begin(&reply.w);
        json_pair_int(&reply.w, "partNumber", u->parts[i].number);
        json_pair_string(&reply.w, "etag", u->parts[i].etag);
        json_object_end(&reply.w);
    }
    json_array_end(&reply.w);
    reply_send_unstamped(u->rq, &reply);
}

static void give_up(struct part *part, const char *why)
{
    struct upload *u = part->upload;

    if (u->failed)
        return;
    u->failed = true;
    u->failed_number = part->number;
    u->why = why ? why : "Out of memory";
    for (size_t i = 0; i < u->started; i++)
        if (u->parts[i].child)
            child_stop(u->parts[i].child);
}

/* Status and ETag of the last answer: there may be others before it, of a proxy or to continue. */
static int read_heads(struct part *part, struct str heads)
{
    int status = 0;

    while (heads.n > 0) {
        const char *end = memchr(heads.p, '\n', heads.n);
        struct str line = { heads.p, end ? (size_t)(end - heads.p) : heads.n };
        size_t past = line.n + (end != NULL);

        heads = (struct str){ heads.p + past, heads.n - past };
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (str_has_prefix(line, STR("HTTP/")) && line.n >= 12) {
            status =
                (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0'); /* curl has checked it */
            part->etag = (struct str){ NULL, 0 };
        } else if (line.n > 5 && strncasecmp(line.p, "etag:", 5) == 0) {
            part->etag = str_trim((struct str){ line.p + 5, line.n - 5 });
        }
    }
    return status;
}

static void start_part(struct part *part);
static void go_on(struct upload *u);

static void on_part_end(struct child *child, void *data)
{
    struct part *part = data;
    struct upload *u = part->upload;
    struct arena *arena = &u->rq->arena;
    struct str complaint = output_take_text(&part->said.outputs[STREAM_STDERR], arena);
    int code = child_exit_code(child);
    int status = read_heads(part, output_take_text(&part->said.outputs[STREAM_STDOUT], arena));

    collector_free(&part->said);
    part->child = NULL;
    u->running--;
    if (code == 0 && status / 100 == 2 && part->etag.n == 0)
        give_up(part, arena_printf(arena, "Part %lld was answered without an ETag", (long long)part->number));
    else if (!u->failed && (code != 0 || status / 100 != 2) && part->attempts < ATTEMPTS)
        start_part(part);
    else if (code != 0)
        give_up(part, arena_printf(arena, "Part %lld was not sent: %.*s", (long long)part->number, (int)complaint.n,
                                   complaint.p));
    else if (status / 100 != 2)
        give_up(part, arena_printf(arena, "Part %lld was not taken: HTTP %d", (long long)part->number, status));
    go_on(u);
}

static void start_part(struct part *part)
{
    static const struct child_events events = { .on_end = on_part_end };
    struct upload *u = part->upload;
    struct arena *arena = &u->rq->arena;
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { CHILD_FAIL_RESOURCES, ENOMEM };
    const char *offset = arena_printf(arena, "%lld", (long long)part->offset);
    const char *size = arena_printf(arena, "%lld", (long long)part->size);
    const char *argv[] = { "sh", "-c", PUT_PART, "upload", u->archive, offset, size, part->url, NULL };

    part->attempts++;
    collector_init(&part->said, OUTPUT_MAX);
    spec.file = argv[0];
    spec.argv = (char *const *)(uintptr_t)argv;
    spec.envp = u->envp;
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    if (offset && size)
        part->child = child_spawn(u->rq->agent, &spec, &part->said.sink, &events, part, &err);
    if (part->child) {
        u->running++;
        return;
    }
    collector_free(&part->said);
    give_up(part, arena_printf(arena, "Part %lld was not sent: %s", (long long)part->number, strerror(err.errnum)));
}

static void go_on(struct upload *u)
{
    while (!u->failed && u->running < AT_ONCE && u->started < u->count)
        start_part(&u->parts[u->started++]);
    if (u->running > 0)
        return;
    if (u->failed)
        reply_failed(u);
    else
        reply_uploaded(u);
    upload_free(u);
}

/* Parts and the archive they are of: NULL, or what is wrong. */
static const char *plan(struct upload *u)
{
    const struct json *parts = json_get(u->rq->body, "parts");
    struct stat st;

    if (stat(u->archive, &st) < 0 || !S_ISREG(st.st_mode))
        return "The archive does not exist";
    u->count = parts->array.count;
    u->parts = arena_calloc(&u->rq->arena, u->count, sizeof(*u->parts));
    u->envp = env_merge(&u->rq->arena, &u->rq->agent->env, NULL);
    if (!u->parts || !u->envp)
        return "Out of memory";
    for (size_t i = 0; i < u->count; i++) {
        const struct json *item = &parts->array.items[i];
        struct part *part = &u->parts[i];

        part->upload = u;
        part->number = json_get(item, "partNumber")->integer;
        part->url = json_get(item, "url")->string.p;
        part->offset = json_get(item, "offset")->integer;
        part->size = json_get(item, "size")->integer;
        if (part->size > st.st_size || part->offset > st.st_size - part->size)
            return "The archive ends before its parts do";
    }
    return NULL;
}

void backup_upload(struct request *rq)
{
    struct upload *u = calloc(1, sizeof(*u));

    if (!u) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    u->rq = request_hold(rq);
    u->archive = json_get(rq->body, "archivePath")->string.p;
    u->why = plan(u);
    u->failed = u->why != NULL;
    go_on(u);
}
