#include "daemon/api/once.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/api/fields.h"
#include "net/client.h"

#include <openssl/evp.h>

#define KEY_MAX    128
#define ANSWER_MAX ((size_t)1 << 20)
#define OWN_FIELD  "Berm-Once"
#define HASH_BYTES 32

struct onces {
    struct http_client *client; /* to our own server */
    struct list runs;           /* struct once_run */
};

/* A request that is under way. */
struct once_run {
    struct list node;
    struct daemon *daemon;
    char sandbox[SANDBOX_ID_MAX + 1];
    char key[KEY_MAX + 1];
    uint8_t hash[HASH_BYTES];
    struct http_call *call;
    struct list viewers;
    int status; /* 0: no head yet */
    int64_t generation;
    char type[64];
    bool kept; /* the answer so far is in `answer` */
    struct buf answer;
};

/* A client that looks on; in its request's arena. */
struct viewer {
    struct list node;
    struct request *request;
    struct once_run *run;
    const char *key;
    uint8_t hash[HASH_BYTES];
    bool first; /* the run is for it */
    bool found; /* a row of the store has answered it, or may not be run again */
    bool rerun; /* that may be run again */
};

/* --- answers to a viewer --- */

static void refuse(struct request *request, int status, const char *why)
{
    struct berm_error err;

    berm_fail_field(&err, "Idempotency-Key", "%s", why);
    err.code = status == 409 ? BERM_E_CONFLICT : BERM_E_INVALID_REQUEST;
    request_fail_status(request, status, &err);
}

static void refuse_other(struct request *request)
{
    refuse(request, 422, "the key was given with another request");
}

static void begin_answer(struct request *request, int status, const char *type, int64_t generation, uint64_t length,
                         bool replayed)
{
    struct http_field fields[4];
    char number[24];
    size_t n = 0;

    snprintf(number, sizeof(number), "%lld", (long long)generation);
    if (type[0])
        fields[n++] = (struct http_field){ "Content-Type", type };
    if (!strcmp(type, "text/event-stream"))
        fields[n++] = (struct http_field){ "Cache-Control", "no-cache" };
    if (generation)
        fields[n++] = (struct http_field){ "Berm-Generation", number };
    if (replayed)
        fields[n++] = (struct http_field){ "Idempotency-Replayed", "true" };
    request_begin(request, status, fields, n, length);
}

static void show_head(struct viewer *viewer)
{
    const struct once_run *run = viewer->run;

    begin_answer(viewer->request, run->status, run->type, run->generation, HTTP_CHUNKED, !viewer->first);
}

/* --- the run --- */

static bool any_is_behind(const struct once_run *run)
{
    for (struct list *node = run->viewers.next; node != &run->viewers; node = node->next) {
        struct request *request = container_of(node, struct viewer, node)->request;

        if (request->exchange && http_respond_queued(request->exchange) > run->daemon->high_water)
            return true;
    }
    return false;
}

static void go_on(struct once_run *run)
{
    if (run->call && !any_is_behind(run))
        http_call_resume(run->call);
}

static void free_run(struct once_run *run)
{
    list_remove(&run->node);
    buf_free(&run->answer);
    free(run);
}

static void leave(struct request *request)
{
    struct viewer *viewer = request->state;
    struct once_run *run = viewer->run;

    viewer->run = NULL;
    list_remove(&viewer->node);
    if (run)
        go_on(run);
}

static void on_drained(struct request *request)
{
    struct viewer *viewer = request->state;

    if (viewer->run)
        go_on(viewer->run);
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct once_run *run = data;
    struct str type = h1_header(head, "Content-Type"), generation = h1_header(head, "Berm-Generation");
    uint64_t number = 0;

    (void)call;
    run->status = head->status;
    if (type.p)
        snprintf(run->type, sizeof(run->type), "%.*s", (int)type.n, type.p);
    if (generation.p && str_to_u64(generation, &number) == 0)
        run->generation = (int64_t)number;
    for (struct list *node = run->viewers.next; node != &run->viewers; node = node->next)
        show_head(container_of(node, struct viewer, node));
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct once_run *run = data;

    if (run->kept && buf_append_str(&run->answer, piece) < 0) {
        run->kept = false;
        buf_free(&run->answer);
    }
    for (struct list *node = run->viewers.next, *next; node != &run->viewers; node = next) {
        next = node->next;
        request_write(container_of(node, struct viewer, node)->request, piece);
    }
    if (any_is_behind(run))
        http_call_pause(call);
}

/* The outcome goes into the store before anybody sees the end of it. */
static void settle(struct once_run *run)
{
    struct store *store = run->daemon->store;
    struct once_row row = { .sandbox = run->sandbox,
                            .key = run->key,
                            .status = run->status,
                            .type = run->type,
                            .generation = run->generation,
                            .kept = run->kept,
                            .body = buf_str(&run->answer) };
    bool begun = run->status < 400 || run->generation;
    struct berm_error err;

    FAULT_POINT("once.answered");
    if ((begun ? store_finish_once(store, &row, &err) : store_forget_once(store, run->sandbox, run->key, &err)) < 0)
        log_error("store.failed", "sandbox", run->sandbox, "error", err.message);
    FAULT_POINT("once.stored");
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct once_run *run = data;
    struct list *node;

    (void)call;
    run->call = NULL;
    if (err->code == BERM_OK)
        settle(run);
    while ((node = list_shift(&run->viewers))) {
        struct viewer *viewer = container_of(node, struct viewer, node);

        viewer->run = NULL;
        if (err->code == BERM_OK)
            request_end(viewer->request);
        else if (run->status)
            http_exchange_abort(viewer->request->exchange);
        else
            request_fail_with(viewer->request, BERM_E_INTERNAL, "the request broke off: %s", err->message);
    }
    free_run(run);
}

static const struct http_call_callbacks callbacks = { .on_head = on_head, .on_body = on_body, .on_end = on_end };

/* What the first client said, but for its key and its claim to a connection. */
static int call_again(struct once_run *run, struct request *request, struct berm_error *err)
{
    static const struct str dropped[] = { STR_INIT("Idempotency-Key"), STR_INIT("Host"), STR_INIT("Authorization"),
                                          STR_INIT("Cookie"), STR_INIT("Origin") };
    const struct h1_head *head = request->head;
    struct str body = http_body(request->exchange), generation = h1_header(head, "Berm-If-Generation");
    const char *method = arena_strdup(&request->arena, head->method);
    const char *target = arena_printf(&request->arena, "%.*s%s%.*s", (int)head->path.n, head->path.p,
                                      head->query.n ? "?" : "", (int)head->query.n, head->query.p);
    struct field_list fields = { 0 };

    if (!method || !target || fields_copy(&fields, &request->arena, head, dropped, ARRAY_SIZE(dropped)) < 0 ||
        fields_add(&fields, OWN_FIELD, "1") < 0 ||
        (generation.p && fields_add(&fields, "Berm-If-Generation", arena_strdup(&request->arena, generation)) < 0))
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "idempotency key");
    run->call = http_call_start(run->daemon->onces->client, method, target, fields.items, fields.count, body.n,
                                &callbacks, run, err);
    if (!run->call)
        return -1;
    if (body.n) {
        http_call_write(run->call, body.p, body.n);
        http_call_end_body(run->call);
    }
    return 0;
}

/* --- looking on --- */

static void attach(struct viewer *viewer, struct once_run *run)
{
    struct request *request = viewer->request;

    if (run->status && !run->kept) {
        refuse(request, 409, "the first request is under way, and its answer is too large to be given again");
        return;
    }
    viewer->run = run;
    list_append(&run->viewers, &viewer->node);
    request->on_drained = on_drained;
    http_watch_disconnect(request->exchange);
    if (!run->status)
        return;
    show_head(viewer);
    request_write(request, buf_str(&run->answer));
}

static struct once_run *find_run(const struct daemon *daemon, const char *sandbox, const char *key)
{
    const struct list *runs = &daemon->onces->runs;

    for (struct list *node = runs->next; node != runs; node = node->next) {
        struct once_run *run = container_of(node, struct once_run, node);

        if (!strcmp(run->sandbox, sandbox) && !strcmp(run->key, key))
            return run;
    }
    return NULL;
}

static void start(struct viewer *viewer)
{
    struct request *request = viewer->request;
    struct daemon *daemon = request->daemon;
    struct once_run *run = calloc(1, sizeof(*run));
    struct once_row row = { .sandbox = request->sandbox_id.p,
                            .key = viewer->key,
                            .created_ms = clock_realtime_ms() };
    struct berm_error err;

    if (!run) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    run->daemon = daemon;
    snprintf(run->sandbox, sizeof(run->sandbox), "%s", row.sandbox);
    snprintf(run->key, sizeof(run->key), "%s", row.key);
    memcpy(run->hash, viewer->hash, sizeof(run->hash));
    memcpy(row.hash, viewer->hash, sizeof(row.hash));
    run->kept = true;
    buf_init(&run->answer, ANSWER_MAX);
    list_init(&run->viewers);
    list_append(&daemon->onces->runs, &run->node);
    if (!viewer->rerun && store_begin_once(daemon->store, &row, &err) < 0) {
        request_fail(request, &err);
        free_run(run);
        return;
    }
    viewer->first = true;
    FAULT_POINT("once.begun");
    if (call_again(run, request, &err) < 0) {
        store_forget_once(daemon->store, row.sandbox, row.key, NULL);
        request_fail(request, &err);
        free_run(run);
        return;
    }
    attach(viewer, run);
}

/* --- the key --- */

/* A row of the store, while nobody works on it. */
static void on_found(const struct once_row *row, void *data)
{
    struct viewer *viewer = data;
    struct request *request = viewer->request;

    viewer->found = true;
    if (memcmp(row->hash, viewer->hash, sizeof(viewer->hash)) != 0) {
        refuse_other(request);
    } else if (!row->status && request->route->handler == api_sandbox_put) {
        viewer->found = false;
        viewer->rerun = true;
    } else if (!row->status) {
        refuse(request, 409, "bermd ended while it worked on the first request: what became of it is not known");
    } else if (!row->kept) {
        refuse(request, 409, "the first request is done, and its answer was too large to be kept");
    } else {
        begin_answer(request, row->status, row->type, row->generation, row->body.n, true);
        request_write(request, row->body);
        request_end(request);
    }
}

static int hash_part(EVP_MD_CTX *context, struct str part)
{
    uint64_t n = part.n;

    return EVP_DigestUpdate(context, &n, sizeof(n)) && EVP_DigestUpdate(context, part.p, part.n) ? 0 : -1;
}

/* All that decides what a request does. -1 without memory. */
static int hash_request(struct request *request, uint8_t *out)
{
    const struct h1_head *head = request->head;
    const struct str parts[] = {
        head->method,
        head->path,
        head->query,
        h1_header(head, "Session-Id"),
        h1_header(head, "Content-Type"),
        http_body(request->exchange),
    };
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int rc = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(parts); i++)
        rc = hash_part(context, parts[i]);
    if (rc == 0 && !EVP_DigestFinal_ex(context, out, NULL))
        rc = -1;
    EVP_MD_CTX_free(context);
    return rc;
}

static void on_whole_body(struct request *request)
{
    struct viewer *viewer = request->state;
    struct daemon *daemon = request->daemon;
    struct once_run *run = find_run(daemon, request->sandbox_id.p, viewer->key);
    struct berm_error err;

    if (hash_request(request, viewer->hash) < 0)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    else if (run && memcmp(run->hash, viewer->hash, sizeof(run->hash)) != 0)
        refuse_other(request);
    else if (run)
        attach(viewer, run);
    else if (store_find_once(daemon->store, request->sandbox_id.p, viewer->key, clock_realtime_ms(), on_found,
                             viewer, &err) < 0)
        request_fail(request, &err);
    else if (!viewer->found)
        start(viewer);
}

static bool key_is_valid(struct str key)
{
    if (key.n == 0 || key.n > KEY_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] < 0x21 || key.p[i] > 0x7e)
            return false;
    return true;
}

bool once_is_own(const struct request *request)
{
    return http_peer_is_own(request->exchange) && h1_header(request->head, OWN_FIELD).p;
}

bool once_takes(struct request *request)
{
    struct str key = h1_header(request->head, "Idempotency-Key");
    struct viewer *viewer;

    if (!key.p || (!request->route->once && !str_is(request->head->method, "POST")))
        return false; /* repeating these is harmless as it is */
    if (!request->route->once) {
        refuse(request, 400, "this route takes no Idempotency-Key");
        return true;
    }
    if (!key_is_valid(key)) {
        refuse(request, 400, "Idempotency-Key must be 1 to 128 visible characters of ASCII");
        return true;
    }
    viewer = arena_calloc(&request->arena, 1, sizeof(*viewer));
    if (!viewer || !(viewer->key = arena_strdup(&request->arena, key))) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return true;
    }
    viewer->request = request;
    request->state = viewer;
    request->cleanup = leave;
    request_collect_body(request, (size_t)request->daemon->config.max_file_put, on_whole_body);
    return true;
}

int once_init(struct daemon *daemon)
{
    struct onces *onces = calloc(1, sizeof(*onces));

    if (!onces)
        return -1;
    list_init(&onces->runs);
    onces->client = http_client_to_own(daemon->loop, daemon->server);
    daemon->onces = onces;
    return onces->client ? 0 : -1;
}

void once_free(struct daemon *daemon)
{
    if (!daemon->onces)
        return;
    if (daemon->onces->client)
        http_client_free(daemon->onces->client); /* ends all runs */
    free(TAKE_PTR(daemon->onces));
}
