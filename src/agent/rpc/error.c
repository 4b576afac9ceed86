/* error.c - errors in the form that the SDK reads. */
#include "exchange.h"

#include <stdio.h>

#define LEGACY_MAX ((size_t)1 << 20)

/* The SDK's registry. */
static const char *const registered[] = {
    "IS_DIRECTORY",
    "NOT_DIRECTORY",
    "INVALID_COMMAND",
    "INVALID_PORT_NUMBER",
    "INVALID_PORT",
    "INVALID_GIT_URL",
    "CUSTOM_DOMAIN_REQUIRED",
    "INVALID_JSON_RESPONSE",
    "NAME_TOO_LONG",
    "VALIDATION_FAILED",
    "MISSING_CREDENTIALS",
    "INVALID_MOUNT_CONFIG",
    "BACKUP_EXPIRED",
    "INVALID_BACKUP_CONFIG",
    "GIT_AUTH_FAILED",
    "PERMISSION_DENIED",
    "COMMAND_PERMISSION_DENIED",
    "PROCESS_PERMISSION_DENIED",
    "READ_ONLY",
    "FILE_NOT_FOUND",
    "COMMAND_NOT_FOUND",
    "PROCESS_NOT_FOUND",
    "PORT_NOT_EXPOSED",
    "GIT_REPOSITORY_NOT_FOUND",
    "GIT_BRANCH_NOT_FOUND",
    "CONTEXT_NOT_FOUND",
    "WATCH_NOT_FOUND",
    "BACKUP_NOT_FOUND",
    "PROCESS_READY_TIMEOUT",
    "FILE_EXISTS",
    "PORT_ALREADY_EXPOSED",
    "PORT_IN_USE",
    "RESOURCE_BUSY",
    "SESSION_ALREADY_EXISTS",
    "OPERATION_INTERRUPTED",
    "SESSION_DESTROYED",
    "SESSION_TERMINATED",
    "FILE_TOO_LARGE",
    "NO_SPACE",
    "TOO_MANY_FILES",
    "TOO_MANY_LINKS",
    "FILESYSTEM_ERROR",
    "COMMAND_EXECUTION_ERROR",
    "STREAM_START_ERROR",
    "PROCESS_ERROR",
    "PORT_OPERATION_ERROR",
    "GIT_CLONE_FAILED",
    "GIT_CHECKOUT_FAILED",
    "GIT_OPERATION_FAILED",
    "CODE_EXECUTION_ERROR",
    "BUCKET_MOUNT_ERROR",
    "BUCKET_UNMOUNT_ERROR",
    "S3FS_MOUNT_ERROR",
    "WATCH_START_ERROR",
    "WATCH_STOP_ERROR",
    "UNKNOWN_ERROR",
    "INTERNAL_ERROR",
    "BACKUP_CREATE_FAILED",
    "BACKUP_RESTORE_FAILED",
    "PROCESS_EXITED_BEFORE_READY",
    "PYTHON_NOT_AVAILABLE",
    "JAVASCRIPT_NOT_AVAILABLE",
    "SERVICE_NOT_RESPONDING",
    "GIT_NETWORK_ERROR",
    "INTERPRETER_NOT_READY",
    "OPENCODE_STARTUP_FAILED",
    "RPC_TRANSPORT_ERROR",
    "CONTAINER_UNAVAILABLE",
};

static bool is_registered(struct str code)
{
    for (size_t i = 0; i < ARRAY_SIZE(registered); i++)
        if (str_is(code, registered[i]))
            return true;
    return false;
}

/* {"code":..,"message":..,"context":{..}} as text, in the arena. */
static struct str legacy_text(struct capnweb_call *call, struct str code, struct str message,
                              const struct capnweb_value *context)
{
    struct json_writer w;
    struct buf text;
    char *copy = NULL;
    size_t n;

    buf_init(&text, LEGACY_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_string(&w, "code", code);
    json_pair_string(&w, "message", message);
    json_key(&w, "context");
    capnweb_write_json(&w, context);
    json_object_end(&w);
    n = text.len;
    if (json_writer_finish(&w) == 0)
        copy = arena_strdup(call->arena, buf_str(&text));
    buf_free(&text);
    return copy ? (struct str){ copy, n } : message;
}

static struct capnweb_value make_error(struct capnweb_call *call, struct str code, struct str message,
                                       struct capnweb_value context)
{
    if (context.type == CAPNWEB_UNDEFINED)
        context = (struct capnweb_value){ .type = CAPNWEB_OBJECT };
    if (is_registered(code))
        return capnweb_error(call->arena, "Error", message, code, context);
    return capnweb_error(call->arena, "Error", legacy_text(call, code, message, &context), STR(""),
                         CAPNWEB_NOTHING);
}

void rpc_reject(struct capnweb_call *call, struct str code, struct str message, struct capnweb_value context)
{
    capnweb_reject(call, make_error(call, code, message, context));
}

void rpc_reject_internal(struct capnweb_call *call, const char *message)
{
    char *copy = arena_strdup(call->arena, str_from(message));

    rpc_reject(call, STR("INTERNAL_ERROR"), copy ? str_from(copy) : STR("out of memory"), CAPNWEB_NOTHING);
}

void rpc_reject_invalid(struct capnweb_call *call, const char *field, const char *message)
{
    struct capnweb_value context, entry, *list = arena_calloc(call->arena, 1, sizeof(*list));
    struct capnweb_member *outer = rpc_object(call, 1, &context), *inner = rpc_object(call, 3, &entry);
    char *text = arena_printf(call->arena, "%s: %s", field, message);

    if (!list || !outer || !inner || !text) {
        rpc_reject_internal(call, "out of memory");
        return;
    }
    inner[0] = (struct capnweb_member){ STR("field"), CAPNWEB_TEXT(str_from(field)) };
    inner[1] = (struct capnweb_member){ STR("message"), CAPNWEB_TEXT(str_from(message)) };
    inner[2] = (struct capnweb_member){ STR("code"), CAPNWEB_TEXT(STR("INVALID_VALUE")) };
    list[0] = entry;
    outer[0] = (struct capnweb_member){ STR("validationErrors"), { .type = CAPNWEB_ARRAY, .array = { list, 1 } } };
    rpc_reject(call, STR("VALIDATION_FAILED"), str_from(text), context);
}

static struct str text_member(const struct json *object, const char *key, struct str otherwise)
{
    const struct json *value = json_get(object, key);

    return value && value->type == JSON_STRING ? value->string : otherwise;
}

struct capnweb_value rpc_error_of(struct capnweb_call *call, int status, struct str body)
{
    const struct json *json = NULL, *context;
    char *unknown;

    if (json_parse(call->arena, body, JSON_MAX_DEPTH, &json, NULL) < 0 || json->type != JSON_OBJECT) {
        unknown = arena_printf(call->arena, "The control server answered %d", status);
        return make_error(call, STR("INTERNAL_ERROR"), unknown ? str_from(unknown) : STR("out of memory"),
                          CAPNWEB_NOTHING);
    }
    /* The interpreter's errors have other names for the same. */
    context = json_get(json, "context");
    if (!context)
        context = json_get(json, "details");
    return make_error(call, text_member(json, "code", STR("UNKNOWN_ERROR")),
                      text_member(json, "message", text_member(json, "error", STR("unknown error"))),
                      context ? CAPNWEB_THE_JSON(context) : CAPNWEB_NOTHING);
}
