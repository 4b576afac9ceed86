/* arguments.c - what a tool is called with: checked against its row, told as a JSON Schema, put into a request. */
#include "daemon/mcp/tools.h"

#define TARGET_MAX ((size_t)24 * 1024)
#define BODY_MAX   ((size_t)12 * 1024 * 1024)

static const struct mcp_arg *find_arg(const struct mcp_tool *tool, struct str name)
{
    for (const struct mcp_arg *arg = tool->args; arg->name; arg++)
        if (str_is(name, arg->name))
            return arg;
    return NULL;
}

static const char *field_of(const struct mcp_arg *arg)
{
    return arg->field ? arg->field : arg->name;
}

/* --- checking --- */

static bool has_nul(struct str s)
{
    return s.n > 0 && memchr(s.p, '\0', s.n);
}

/* What goes into a path or a header field is one name. */
static bool is_name(struct str s)
{
    return s.n > 0 && !str_is(s, ".") && !str_is(s, "..");
}

static bool is_listed(const char *const *values, struct str s)
{
    for (; *values; values++)
        if (str_is(s, *values))
            return true;
    return false;
}

static int check_text(const struct mcp_arg *arg, const struct json *value, struct berm_error *err)
{
    if (value->type != JSON_STRING)
        return berm_fail_field(err, arg->name, "%s must be a string", arg->name);
    if (has_nul(value->string))
        return berm_fail_field(err, arg->name, "%s must not hold a NUL", arg->name);
    if ((arg->place == MCP_IN_PATH || arg->place == MCP_IN_SESSION) && !is_name(value->string))
        return berm_fail_field(err, arg->name, "%s must name something", arg->name);
    if (arg->values && !is_listed(arg->values, value->string))
        return berm_fail_field(err, arg->name, "%s is not one of the values it can have", arg->name);
    return 0;
}

static int check_map(const struct mcp_arg *arg, const struct json *value, struct berm_error *err)
{
    if (value->type != JSON_OBJECT)
        return berm_fail_field(err, arg->name, "%s must be an object of strings", arg->name);
    for (size_t i = 0; i < value->object.count; i++)
        if (value->object.members[i].value.type != JSON_STRING)
            return berm_fail_field(err, arg->name, "%s must be an object of strings", arg->name);
    return 0;
}

static int check_texts(const struct mcp_arg *arg, const struct json *value, struct berm_error *err)
{
    if (value->type != JSON_ARRAY)
        return berm_fail_field(err, arg->name, "%s must be an array of strings", arg->name);
    for (size_t i = 0; i < value->array.count; i++)
        if (value->array.items[i].type != JSON_STRING)
            return berm_fail_field(err, arg->name, "%s must be an array of strings", arg->name);
    return 0;
}

static int check_value(const struct mcp_arg *arg, const struct json *value, struct berm_error *err)
{
    switch (arg->type) {
    case MCP_WHOLE:
        if (value->type != JSON_INT || value->integer < 0)
            return berm_fail_field(err, arg->name, "%s must be a whole number, 0 or more", arg->name);
        return 0;
    case MCP_FLAG:
        if (value->type != JSON_BOOL)
            return berm_fail_field(err, arg->name, "%s must be true or false", arg->name);
        return 0;
    case MCP_TEXTS:
        return check_texts(arg, value, err);
    case MCP_MAP:
        return check_map(arg, value, err);
    case MCP_TEXT:
    default:
        return check_text(arg, value, err);
    }
}

int mcp_args_check(const struct mcp_tool *tool, const struct json *args, struct berm_error *err)
{
    for (size_t i = 0; args && i < args->object.count; i++) {
        const struct json_member *member = &args->object.members[i];
        const struct mcp_arg *arg = find_arg(tool, member->key);

        if (!arg)
            return berm_fail_field(err, "arguments", "%s takes no argument \"%.*s\"", tool->name,
                                   (int)MIN(member->key.n, 64), member->key.p);
        if (member->value.type != JSON_NULL && check_value(arg, &member->value, err) < 0)
            return -1;
    }
    for (const struct mcp_arg *arg = tool->args; arg->name; arg++) {
        const struct json *value = json_get(args, arg->name);

        if (arg->required && (!value || value->type == JSON_NULL))
            return berm_fail_field(err, arg->name, "%s needs the argument \"%s\"", tool->name, arg->name);
    }
    return 0;
}

const char *mcp_arg_text(const struct json *args, const char *name)
{
    const struct json *value = json_get(args, name);

    return value && value->type == JSON_STRING ? value->string.p : NULL;
}

/* --- the schema --- */

static void write_strings(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_object_begin(w);
    json_pair_cstring(w, "type", "string");
    json_object_end(w);
}

static void write_arg(struct json_writer *w, const struct mcp_arg *arg)
{
    static const char *const types[] = { "string", "integer", "boolean", "array", "object" };

    json_key(w, arg->name);
    json_object_begin(w);
    json_pair_cstring(w, "type", types[arg->type]);
    json_pair_cstring(w, "description", arg->about);
    if (arg->type == MCP_WHOLE)
        json_pair_int(w, "minimum", 0);
    if (arg->type == MCP_TEXTS)
        write_strings(w, "items");
    if (arg->type == MCP_MAP)
        write_strings(w, "additionalProperties");
    if (arg->values) {
        json_key(w, "enum");
        json_array_begin(w);
        for (const char *const *value = arg->values; *value; value++)
            json_cstring(w, *value);
        json_array_end(w);
    }
    json_object_end(w);
}

static void write_schema(struct json_writer *w, const struct mcp_arg *args)
{
    json_object_begin(w);
    json_pair_cstring(w, "type", "object");
    json_key(w, "properties");
    json_object_begin(w);
    for (const struct mcp_arg *arg = args; arg->name; arg++)
        write_arg(w, arg);
    json_object_end(w);
    json_key(w, "required");
    json_array_begin(w);
    for (const struct mcp_arg *arg = args; arg->name; arg++)
        if (arg->required)
            json_cstring(w, arg->name);
    json_array_end(w);
    json_pair_bool(w, "additionalProperties", false);
    json_object_end(w);
}

void mcp_tool_write(struct json_writer *w, const struct mcp_tool *tool)
{
    json_object_begin(w);
    json_pair_cstring(w, "name", tool->name);
    json_pair_cstring(w, "title", tool->title);
    json_pair_cstring(w, "description", tool->about);
    json_key(w, "inputSchema");
    write_schema(w, tool->args);
    json_key(w, "annotations");
    json_object_begin(w);
    json_pair_cstring(w, "title", tool->title);
    json_pair_bool(w, "readOnlyHint", tool->hints & MCP_READS);
    json_pair_bool(w, "destructiveHint", tool->hints & MCP_DESTROYS);
    json_pair_bool(w, "idempotentHint", tool->hints & MCP_REPEATABLE);
    json_object_end(w);
    json_object_end(w);
}

/* --- the request --- */

int mcp_append_escaped(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));

        if (plain ? buf_append(out, &s.p[i], 1) < 0 : buf_printf(out, "%%%02X", c) < 0)
            return -1;
    }
    return 0;
}

static int append_value(struct buf *out, const struct json *value)
{
    switch (value->type) {
    case JSON_STRING:
        return mcp_append_escaped(out, value->string);
    case JSON_INT:
        return buf_printf(out, "%lld", (long long)value->integer);
    case JSON_BOOL:
        return buf_append_str(out, value->boolean ? STR("true") : STR("false"));
    default:
        return -1;
    }
}

static int append_path(struct buf *out, const char *pattern, const struct json *args)
{
    while (*pattern) {
        size_t plain = strcspn(pattern, "{"), name = strcspn(pattern + plain, "}");
        char key[32];

        if (buf_append(out, pattern, plain) < 0)
            return -1;
        pattern += plain;
        if (!*pattern)
            break;
        if (str_copy((struct str){ pattern + 1, name - 1 }, key, sizeof(key)) < 0 || !json_get(args, key) ||
            append_value(out, json_get(args, key)) < 0)
            return -1;
        pattern += name + 1;
    }
    return 0;
}

static int append_query(struct buf *out, const struct mcp_tool *tool, const struct json *args)
{
    char separator = '?';

    for (const struct mcp_arg *arg = tool->args; arg->name; arg++) {
        const struct json *value = json_get(args, arg->name);

        if (arg->place != MCP_IN_QUERY || !value || value->type == JSON_NULL)
            continue;
        if (buf_printf(out, "%c%s=", separator, field_of(arg)) < 0 || append_value(out, value) < 0)
            return -1;
        separator = '&';
    }
    return 0;
}

const char *mcp_target_build(const struct mcp_tool *tool, const char *pattern, const struct json *args,
                             struct arena *arena, struct berm_error *err)
{
    _cleanup_(buf_free) struct buf out;
    const char *target = NULL;

    buf_init(&out, TARGET_MAX);
    if (append_path(&out, pattern, args) == 0 && append_query(&out, tool, args) == 0)
        target = arena_strdup(arena, buf_str(&out));
    if (!target)
        berm_fail_field(err, "arguments", "the arguments are too long");
    return target;
}

static bool goes_to(const struct mcp_tool *tool, enum mcp_place place, const struct json *args)
{
    for (const struct mcp_arg *arg = tool->args; arg->name; arg++) {
        const struct json *value = json_get(args, arg->name);

        if (arg->place == place && value && value->type != JSON_NULL)
            return true;
    }
    return false;
}

static void write_members(struct json_writer *w, const struct mcp_tool *tool, enum mcp_place place,
                          const struct json *args)
{
    for (const struct mcp_arg *arg = tool->args; arg->name; arg++) {
        const struct json *value = json_get(args, arg->name);

        if (arg->place != place || !value || value->type == JSON_NULL)
            continue;
        json_key(w, field_of(arg));
        json_value(w, value);
    }
}

static int build_body(const struct mcp_tool *tool, const struct json *args, struct arena *arena, struct str *ret,
                      struct berm_error *err)
{
    _cleanup_(buf_free) struct buf out;
    struct json_writer w;

    buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    write_members(&w, tool, MCP_IN_BODY, args);
    if (goes_to(tool, MCP_IN_OPTIONS, args)) {
        json_key(&w, "options");
        json_object_begin(&w);
        write_members(&w, tool, MCP_IN_OPTIONS, args);
        json_object_end(&w);
    }
    json_object_end(&w);
    *ret = (struct str){ json_writer_finish(&w) == 0 ? arena_strdup(arena, buf_str(&out)) : NULL, out.len };
    return ret->p ? 0 : berm_fail_field(err, "arguments", "the arguments are too long");
}

int mcp_request_build(const struct mcp_tool *tool, const struct json *args, struct arena *arena,
                      struct mcp_request *ret, struct berm_error *err)
{
    bool has_body = strcmp(tool->method, "POST") == 0 || strcmp(tool->method, "PUT") == 0;

    *ret = (struct mcp_request){ .method = tool->method };
    ret->target = mcp_target_build(tool, tool->target, args, arena, err);
    if (!ret->target)
        return -1;
    for (const struct mcp_arg *arg = tool->args; arg->name; arg++)
        if (arg->place == MCP_IN_SESSION)
            ret->session = mcp_arg_text(args, arg->name);
    return has_body ? build_body(tool, args, arena, &ret->body, err) : 0;
}
