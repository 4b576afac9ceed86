#include "daemon/agent_configure.h"

#include "base/base64.h"
#include "base/json.h"

#define BODY_MAX_BYTES (1024 * 1024)
#define ARENA_MAX      (8 * 1024 * 1024)
#define TIMEOUT_MS     10000
#define FIELD_MAX      ((size_t)4096)

struct configure {
    configure_done done;
    void *data;
    int status;
};

bool agent_configure_needed(const struct image_entry *image, const char *env)
{
    return image->config.env_count > 0 || (env && strcmp(env, "{}"));
}

/* The sandbox's variables win over the image's; a null takes one away, also one that the agent was told before. */
static void write_variables(const struct image_entry *image, const struct json *env, struct json_writer *w)
{
    json_object_begin(w);
    for (size_t i = 0; i < image->config.env_count; i++) {
        const struct image_env *variable = &image->config.env[i];

        if (!json_get(env, variable->name.p))
            json_pair_string(w, variable->name.p, variable->value);
    }
    for (size_t i = 0; env && i < env->object.count; i++) {
        json_key_str(w, env->object.members[i].key);
        json_value(w, &env->object.members[i].value);
    }
    json_object_end(w);
}

static int put_variables(const struct image_entry *image, const char *env, struct json_writer *w,
                         struct berm_error *err)
{
    const struct json *object = NULL;
    struct arena arena;
    int rc = 0;

    arena_init(&arena, ARENA_MAX);
    if (env)
        rc = json_parse(&arena, str_from(env), 4, &object, err);
    if (rc == 0)
        write_variables(image, object, w);
    arena_free(&arena);
    return rc;
}

static int make_body(const struct image_entry *image, const char *env, struct str authority, struct buf *out,
                     struct berm_error *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "env");
    if (put_variables(image, env, &w, err) < 0)
        return -1;
    if (authority.n > 0)
        json_pair_string(&w, "authority", authority);
    json_object_end(&w);
    return json_writer_finish(&w) < 0 ? berm_fail(err, BERM_E_SYSTEM, ENOMEM, "environment") : 0;
}

char *agent_environment(const struct image_entry *image, const char *env)
{
    struct json_writer w;
    struct buf text;
    char *field = NULL;
    size_t n;

    buf_init(&text, BODY_MAX_BYTES);
    json_writer_init(&w, &text);
    if (put_variables(image, env, &w, NULL) == 0 && json_writer_finish(&w) == 0 &&
        BASE64_ENCODED_SIZE(text.len) <= FIELD_MAX && (field = malloc(BASE64_ENCODED_SIZE(text.len) + 1))) {
        n = base64_encode(buf_head(&text), text.len, field);
        field[n] = '\0';
    }
    buf_free(&text);
    return field;
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    ((struct configure *)data)->status = head->status;
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct configure *configure = data;
    struct berm_error failure = *err;

    (void)call;
    if (failure.code == BERM_OK && configure->status != 200)
        berm_fail(&failure, BERM_E_EXEC_TRANSPORT_ERROR, 0, "the agent answered %d when told its environment",
                  configure->status);
    configure->done(&failure, configure->data);
    free(configure);
}

struct http_call *agent_configure(struct agent_link *link, const struct image_entry *image, const char *env,
                                  struct str authority, configure_done done, void *data, struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head, .on_end = on_end };
    static const struct http_field fields[] = { { "Content-Type", "application/json" } };
    struct configure *configure = calloc(1, sizeof(*configure));
    struct http_client *client = agent_link_client(link);
    struct http_call *call = NULL;
    struct buf body;

    buf_init(&body, BODY_MAX_BYTES);
    if (!configure || !client) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "environment");
    } else if (make_body(image, env, authority, &body, err) == 0) {
        *configure = (struct configure){ done, data, 0 };
        call = http_call_start(client, "POST", "/berm/v1/configure", fields, ARRAY_SIZE(fields), body.len,
                               &callbacks, configure, err);
    }
    if (call) {
        http_call_set_idle_timeout(call, TIMEOUT_MS);
        http_call_write(call, buf_head(&body), body.len);
        http_call_end_body(call);
    } else {
        free(configure);
    }
    buf_free(&body);
    return call;
}

void agent_configure_cancel(struct http_call *call)
{
    struct configure *configure;

    if (!call)
        return;
    configure = http_call_data(call);
    http_call_cancel(call);
    free(configure);
}
