/* sandbox_list.c - GET /v1/sandboxes: in order of creation, filtered, in pages. */
#include "daemon/api/api.h"
#include "daemon/api/sandbox_json.h"
#include "daemon/api/sandbox_spec.h"
#include "net/h1.h"

#define LABEL_FILTERS_MAX 16
#define LIMIT_DEFAULT     100
#define LIMIT_MAX         1000
#define CURSOR_PREFIX     "s1." /* a version: cursors of another form are refused, not misread */

struct label_filter {
    struct str name;
    struct str value;
    bool any_value;
};

struct list_query {
    struct label_filter labels[LABEL_FILTERS_MAX];
    size_t label_count;
    const char *state;
    const char *name;
    size_t limit;
    int64_t after; /* seq */
};

static int fail_field(struct request *request, const char *field, const char *message)
{
    struct berm_error err;

    berm_fail_field(&err, field, "%s", message);
    request_fail(request, &err);
    return -1;
}

/* --- the query --- */

static int add_label(struct request *request, struct list_query *query, struct str raw)
{
    char *text = arena_alloc(&request->arena, raw.n + 1);
    struct label_filter *filter;
    const char *equals;

    if (query->label_count == LABEL_FILTERS_MAX)
        return fail_field(request, "label", "there are too many label filters");
    if (!text || query_decode(raw, text, raw.n + 1) < 0)
        return fail_field(request, "label", "label is not a valid query value");
    filter = &query->labels[query->label_count++];
    equals = strchr(text, '=');
    filter->any_value = equals == NULL;
    filter->name = (struct str){ text, equals ? (size_t)(equals - text) : strlen(text) };
    filter->value = equals ? str_from(equals + 1) : (struct str){ "", 0 };
    if (!label_name_valid(filter->name))
        return fail_field(request, "label", "label is name=value or name");
    return 0;
}

/* Every "label=" of the query; query_get() knows only the first of a name. */
static int take_labels(struct request *request, struct list_query *query)
{
    struct str left = request->head->query;

    while (left.n) {
        const char *amp = memchr(left.p, '&', left.n);
        struct str pair = { left.p, amp ? (size_t)(amp - left.p) : left.n };

        left.p += pair.n + (amp != NULL);
        left.n -= pair.n + (amp != NULL);
        if (str_has_prefix(pair, STR("label=")) &&
            add_label(request, query, (struct str){ pair.p + 6, pair.n - 6 }) < 0)
            return -1;
    }
    return 0;
}

static int take_cursor(struct request *request, struct list_query *query)
{
    const char *cursor;
    uint64_t after;

    if (request_query(request, "cursor", &cursor) < 0)
        return -1;
    if (!cursor)
        return 0;
    if (strncmp(cursor, CURSOR_PREFIX, strlen(CURSOR_PREFIX)) ||
        str_to_u64(str_from(cursor + strlen(CURSOR_PREFIX)), &after) < 0 || after > INT64_MAX)
        return fail_field(request, "cursor", "cursor is not one that this daemon has given");
    query->after = (int64_t)after;
    return 0;
}

static bool is_state(const char *name)
{
    for (enum sandbox_state state = SANDBOX_CREATING; state < SANDBOX_DESTROYED; state++)
        if (!strcmp(name, sandbox_state_name(state)))
            return true;
    return false;
}

static int take_query(struct request *request, struct list_query *query)
{
    const char *limit;
    uint64_t number = LIMIT_DEFAULT;

    if (take_labels(request, query) < 0 || request_query(request, "state", &query->state) < 0 ||
        request_query(request, "name", &query->name) < 0 || request_query(request, "limit", &limit) < 0 ||
        take_cursor(request, query) < 0)
        return -1;
    if (query->state && !is_state(query->state))
        return fail_field(request, "state", "state must be creating, running, sleeping or stopped");
    if (limit && (str_to_u64(str_from(limit), &number) < 0 || number < 1 || number > LIMIT_MAX))
        return fail_field(request, "limit", "limit must be a number from 1 to 1000");
    query->limit = number;
    return 0;
}

/* --- the answer --- */

static bool labels_match(const struct sandbox *sandbox, const struct list_query *query)
{
    const struct json *labels = NULL;
    struct arena arena;
    bool match = true;

    if (query->label_count == 0)
        return true;
    if (!strcmp(sandbox->row.labels, "{}"))
        return false;
    arena_init(&arena, 1 << 20);
    if (json_parse(&arena, str_from(sandbox->row.labels), 4, &labels, NULL) < 0)
        match = false;
    for (size_t i = 0; match && i < query->label_count; i++) {
        const struct label_filter *filter = &query->labels[i];
        const struct json *value = NULL;

        for (size_t m = 0; m < labels->object.count; m++)
            if (str_eq(labels->object.members[m].key, filter->name))
                value = &labels->object.members[m].value;
        match = value && (filter->any_value || str_eq(value->string, filter->value));
    }
    arena_free(&arena);
    return match;
}

static bool is_listed(const struct sandbox *sandbox, const struct list_query *query)
{
    if (sandbox->row.seq <= query->after) /* 0: its first start is not committed yet */
        return false;
    if (query->state && strcmp(query->state, sandbox_state_name(sandbox->state)))
        return false;
    if (query->name && strcmp(query->name, sandbox->row.name))
        return false;
    return labels_match(sandbox, query);
}

/* Writes a page; the last one's seq when there are more, else 0. */
static int64_t write_page(struct request *request, struct json_writer *w, const struct list_query *query)
{
    const struct list *order = &request->daemon->registry.order;
    int64_t last = 0;
    size_t count = 0;

    for (struct list *node = order->next; node != order; node = node->next) {
        const struct sandbox *sandbox = container_of(node, struct sandbox, order);

        if (!is_listed(sandbox, query))
            continue;
        if (count++ == query->limit)
            return last;
        sandbox_write_json(w, sandbox, NULL, false);
        last = sandbox->row.seq;
    }
    return 0;
}

static void list_sandboxes(struct request *request)
{
    struct list_query query = { 0 };
    struct json_writer *w;
    int64_t next;

    if (take_query(request, &query) < 0)
        return;
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_key(w, "sandboxes");
    json_array_begin(w);
    next = write_page(request, w, &query);
    json_array_end(w);
    json_pair_cstring(w, "cursor",
                      next ? arena_printf(&request->arena, CURSOR_PREFIX "%lld", (long long)next) : NULL);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

void api_sandbox_list(struct request *request)
{
    request_need_adoption(request, list_sandboxes);
}
