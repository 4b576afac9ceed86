#include "daemon/secret_store.h"

#include "base/log.h"
#include "daemon/egress/egress.h"
#include "daemon/store.h"

#define KIND     "secret"
#define TEXT_MAX (8 * SECRET_VALUE_MAX)

static int set(struct daemon *daemon, struct str name, struct str value, int64_t now_ms, struct berm_error *err)
{
    if (secrets_set(egress_service_secrets(daemon->egress), name, value, now_ms) == 0)
        return 0;
    return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "there is no room for another secret");
}

static int load(const struct store_document *document, void *data)
{
    struct daemon *daemon = data;
    const struct json *body = NULL;
    struct str value = { NULL, 0 };
    struct arena arena;
    int64_t set_ms = 0;
    int rc = 0;

    if (strcmp(document->kind, KIND))
        return 0;
    arena_init(&arena, 64 << 10);
    if (json_parse(&arena, str_from(document->json), 2, &body, NULL) < 0 ||
        json_field_string(body, "value", &value, NULL) < 0 ||
        json_field_int(body, "set", 0, INT64_MAX, &set_ms, NULL) < 0 ||
        !secret_name_valid(str_from(document->name)) || !secret_value_valid(value))
        log_warn("secret.unreadable", "name", document->name);
    else
        rc = set(daemon, str_from(document->name), value, set_ms, NULL);
    arena_free(&arena);
    return rc;
}

int secret_store_load(struct daemon *daemon, struct berm_error *err)
{
    return store_each_document(daemon->store, load, daemon, err);
}

static int store_value(struct daemon *daemon, const char *name, struct str value, int64_t now_ms,
                       struct berm_error *err)
{
    struct json_writer w;
    struct buf text;
    int rc;

    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_string(&w, "value", value);
    json_pair_int(&w, "set", now_ms);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0 || buf_append(&text, "", 1) < 0)
        rc = berm_fail(err, BERM_E_SYSTEM, ENOMEM, "secret");
    else
        rc = store_put_document(daemon->store, KIND, name, buf_head(&text), err);
    if (text.len)
        explicit_bzero(buf_head(&text), text.len);
    buf_free(&text);
    return rc;
}

int secret_store_put(struct daemon *daemon, struct str name, struct str value, struct berm_error *err)
{
    const struct secrets *secrets = egress_service_secrets(daemon->egress);
    int64_t now_ms = clock_realtime_ms();
    char text[SECRET_NAME_MAX + 1];

    if (secrets->count >= SECRETS_MAX && !secrets_find(secrets, name))
        return berm_fail(err, BERM_E_CONFLICT, 0, "there are %d secrets, and no more are kept", SECRETS_MAX);
    str_copy(name, text, sizeof(text));
    if (store_value(daemon, text, value, now_ms, err) < 0)
        return -1;
    return set(daemon, name, value, now_ms, err);
}

int secret_store_delete(struct daemon *daemon, struct str name, bool *ret_found, struct berm_error *err)
{
    struct secrets *secrets = egress_service_secrets(daemon->egress);
    char text[SECRET_NAME_MAX + 1];

    *ret_found = secret_name_valid(name) && secrets_find(secrets, name);
    if (!*ret_found)
        return 0;
    str_copy(name, text, sizeof(text));
    if (store_delete_document(daemon->store, KIND, text, err) < 0)
        return -1;
    secrets_remove(secrets, name);
    return 0;
}
