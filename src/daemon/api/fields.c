#include "daemon/api/fields.h"

#include "daemon/console/cookie.h"

static const struct str hop_fields[] = {
    STR_INIT("Connection"),
    STR_INIT("Keep-Alive"),
    STR_INIT("Proxy-Connection"),
    STR_INIT("Proxy-Authenticate"),
    STR_INIT("Proxy-Authorization"),
    STR_INIT("TE"),
    STR_INIT("Trailer"),
    STR_INIT("Transfer-Encoding"),
    STR_INIT("Upgrade"),
    STR_INIT("Content-Length"),
    STR_INIT("Expect"),
    STR_INIT("Date"),
};

/* Whether the Connection field names this one as its hop's. */
static bool named_by_connection(const struct h1_head *head, struct str name)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct str value = head->headers[i].value;

        if (!str_eq_nocase(head->headers[i].name, STR("Connection")))
            continue;
        while (value.n) {
            const char *comma = memchr(value.p, ',', value.n);
            size_t n = comma ? (size_t)(comma - value.p) : value.n;

            if (str_eq_nocase(str_trim((struct str){ value.p, n }), name))
                return true;
            value.p += n + (comma != NULL);
            value.n -= n + (comma != NULL);
        }
    }
    return false;
}

static bool is_one_of(struct str name, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(name, names[i]))
            return true;
    return false;
}

static bool is_ours(struct str name)
{
    return name.n >= 5 && str_eq_nocase((struct str){ name.p, 5 }, STR("Berm-"));
}

/* The console's cookie opens the API: it goes to no sandbox, and none sets it. -1 without memory. */
static int copy_field(struct field_list *list, struct arena *arena, const struct h1_header *field)
{
    struct str value = field->value;

    if (str_eq_nocase(field->name, STR("Set-Cookie")) && set_cookie_is_console(value))
        return 0;
    if (str_eq_nocase(field->name, STR("Cookie"))) {
        char *rest = arena_alloc(arena, value.n + 1);

        if (!rest)
            return -1;
        value = (struct str){ rest, cookie_without_console(value, rest) };
        if (value.n == 0 && field->value.n)
            return 0;
    }
    return fields_add(list, arena_strdup(arena, field->name), arena_strdup(arena, value));
}

int fields_add(struct field_list *list, const char *name, const char *value)
{
    if (!name || !value || list->count == list->cap)
        return -1;
    list->items[list->count++] = (struct http_field){ name, value };
    return 0;
}

int fields_copy(struct field_list *list, struct arena *arena, const struct h1_head *head, const struct str *also,
                size_t also_count)
{
    list->count = 0;
    list->cap = head->header_count + FIELDS_EXTRA;
    list->items = arena_calloc(arena, list->cap, sizeof(*list->items));
    if (!list->items)
        return -1;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct h1_header *field = &head->headers[i];

        if (is_one_of(field->name, hop_fields, ARRAY_SIZE(hop_fields)) || is_ours(field->name) ||
            is_one_of(field->name, also, also_count) || named_by_connection(head, field->name))
            continue;
        if (copy_field(list, arena, field) < 0)
            return -1;
    }
    return 0;
}

int fields_copy_foreign(struct field_list *list, struct arena *arena, const struct h1_head *head,
                        const char *policy)
{
    static const struct str dropped[] = {
        /* replaced */
        STR_INIT("Content-Security-Policy"), STR_INIT("X-Content-Type-Options"),
        /* what a browser keeps for the origin: its cookies, certificates and ways, whom it reports requests to */
        STR_INIT("Clear-Site-Data"), STR_INIT("Set-Cookie"), STR_INIT("Set-Login"),
        STR_INIT("Service-Worker-Allowed"), STR_INIT("Strict-Transport-Security"), STR_INIT("Public-Key-Pins"),
        STR_INIT("Expect-CT"), STR_INIT("Alt-Svc"), STR_INIT("NEL"), STR_INIT("Report-To"),
        STR_INIT("Reporting-Endpoints"), STR_INIT("Accept-CH"), STR_INIT("Critical-CH"),
        /* a question of the browser's for a password, in the origin's name */
        STR_INIT("WWW-Authenticate")
    };

    if (fields_copy(list, arena, head, dropped, ARRAY_SIZE(dropped)) < 0 ||
        fields_add(list, "Content-Security-Policy", policy) < 0)
        return -1;
    return fields_add(list, "X-Content-Type-Options", "nosniff");
}
