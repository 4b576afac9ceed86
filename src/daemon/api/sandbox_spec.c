#include "daemon/api/sandbox_spec.h"

#include "base/utf8.h"

#define LABEL_NAME_MAX   63
#define LABEL_VALUE_MAX  256
#define LIMIT_MEMORY_MIN ((uint64_t)4 << 20)
#define LIMIT_DISK_MIN   ((uint64_t)1 << 20)

static int check_members(const struct json *object, const char *const *known, size_t count, const char *prefix,
                         struct berm_error *err)
{
    char field[48];

    for (size_t i = 0; i < object->object.count; i++) {
        struct str key = object->object.members[i].key;
        size_t k = 0;

        while (k < count && !str_is(key, known[k]))
            k++;
        if (k < count)
            continue;
        snprintf(field, sizeof(field), "%s%.*s", prefix, (int)MIN(key.n, (size_t)32), key.p);
        return berm_fail_field(err, field, "%s is not a known member", field);
    }
    return 0;
}

/* --- limits --- */

static int take_limit(const struct json *limits, const char *name, uint64_t min, uint64_t max, uint64_t *ret,
                      struct berm_error *err)
{
    const struct json *value = json_get(limits, name);
    char field[48];

    *ret = 0;
    if (!value || value->type == JSON_NULL)
        return 0;
    snprintf(field, sizeof(field), "limits.%s", name);
    if (value->type != JSON_INT || value->integer < 0 || (uint64_t)value->integer < min ||
        (uint64_t)value->integer > max)
        return berm_fail_field(err, field, "%s must be a whole number from %llu to %llu", field,
                               (unsigned long long)min, (unsigned long long)max);
    *ret = (uint64_t)value->integer;
    return 0;
}

static int take_limits(const struct config *config, const struct json *body, struct spawn_limits *ret,
                       struct berm_error *err)
{
    static const char *const known[] = { "memoryBytes", "cpuMillis", "pids", "diskBytes", "nofile" };
    const struct json *limits = NULL;
    uint64_t cpu, pids, nofile;

    if (json_field_object(body, "limits", &limits, err) < 0)
        return -1;
    if (!limits)
        return 0;
    if (check_members(limits, known, ARRAY_SIZE(known), "limits.", err) < 0 ||
        take_limit(limits, "memoryBytes", LIMIT_MEMORY_MIN, config->max_memory, &ret->memory_bytes, err) < 0 ||
        take_limit(limits, "diskBytes", LIMIT_DISK_MIN, config->max_disk, &ret->disk_bytes, err) < 0 ||
        take_limit(limits, "cpuMillis", 10, config->max_cpu, &cpu, err) < 0 ||
        take_limit(limits, "pids", 2, config->max_pids, &pids, err) < 0 ||
        take_limit(limits, "nofile", 64, config->max_nofile, &nofile, err) < 0)
        return -1;
    ret->cpu_millis = (uint32_t)cpu;
    ret->pids = (uint32_t)pids;
    ret->nofile = (uint32_t)nofile;
    return 0;
}

/* --- maps of text --- */

static bool env_name_valid(struct str name)
{
    if (name.n == 0 || name.n > 256 || (name.p[0] >= '0' && name.p[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

bool label_name_valid(struct str name)
{
    if (name.n == 0 || name.n > LABEL_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && !strchr("._/-", c))
            return false;
    }
    return true;
}

static bool text_ok(const struct json *value, size_t max)
{
    return value->type == JSON_STRING && value->string.n <= max && !memchr(value->string.p, '\0', value->string.n);
}

static int check_env(const struct json *env, struct berm_error *err)
{
    size_t bytes = 0;

    if (env->object.count > SANDBOX_ENV_MAX)
        return berm_fail_field(err, "env", "env has more than %d variables", SANDBOX_ENV_MAX);
    for (size_t i = 0; i < env->object.count; i++) {
        const struct json_member *member = &env->object.members[i];

        if (!env_name_valid(member->key))
            return berm_fail_field(err, "env", "env: \"%.*s\" is not a name of a variable",
                                   (int)MIN(member->key.n, (size_t)64), member->key.p);
        if (member->value.type != JSON_NULL && !text_ok(&member->value, SANDBOX_ENV_BYTES_MAX))
            return berm_fail_field(err, "env", "env: the value of %.*s must be a string without NUL",
                                   (int)MIN(member->key.n, (size_t)64), member->key.p);
        bytes += member->key.n + (member->value.type == JSON_STRING ? member->value.string.n : 0);
    }
    if (bytes > SANDBOX_ENV_BYTES_MAX)
        return berm_fail_field(err, "env", "env has more than %d bytes", SANDBOX_ENV_BYTES_MAX);
    return 0;
}

int environment_check(const struct json *env, struct berm_error *err)
{
    for (size_t i = 0; i < env->object.count; i++) {
        const struct json_member *member = &env->object.members[i];

        if (member->key.n == 0 || memchr(member->key.p, '=', member->key.n) ||
            memchr(member->key.p, '\0', member->key.n))
            return berm_fail_field(err, "env", "env: a name must not be empty or hold '=' or NUL");
        if (member->value.type != JSON_NULL && !text_ok(&member->value, SIZE_MAX))
            return berm_fail_field(err, "env", "env must be an object of strings without NUL");
    }
    return 0;
}

static int check_labels(const struct json *labels, struct berm_error *err)
{
    if (labels->object.count > SANDBOX_LABELS_MAX)
        return berm_fail_field(err, "labels", "there are more than %d labels", SANDBOX_LABELS_MAX);
    for (size_t i = 0; i < labels->object.count; i++) {
        const struct json_member *member = &labels->object.members[i];

        if (!label_name_valid(member->key))
            return berm_fail_field(err, "labels", "labels: a name has 1 to %d characters of A-Z a-z 0-9 . _ / -",
                                   LABEL_NAME_MAX);
        if (str_has_prefix(member->key, STR(SANDBOX_LABELS_DOCKER)))
            return berm_fail_field(
                err, "labels", "labels: %.*s: names that begin with " SANDBOX_LABELS_DOCKER " are the Docker API's",
                (int)member->key.n, member->key.p);
        if (member->value.type != JSON_NULL && !text_ok(&member->value, LABEL_VALUE_MAX))
            return berm_fail_field(err, "labels", "labels: the value of %.*s must be a string of at most %d bytes",
                                   (int)member->key.n, member->key.p, LABEL_VALUE_MAX);
    }
    return 0;
}

struct map_rules {
    const char *name;
    int (*check)(const struct json *map, struct berm_error *err);
};

static const struct map_rules env_rules = { "env", check_env };
static const struct map_rules label_rules = { "labels", check_labels };

/* A checked object's text, as it is stored. */
static int take_map(struct arena *arena, const struct json *object, const struct map_rules *rules, const char **ret,
                    struct berm_error *err)
{
    struct json_writer w;
    struct buf text;

    if (rules->check(object, err) < 0)
        return -1;
    buf_init(&text, 4 * SANDBOX_ENV_BYTES_MAX);
    json_writer_init(&w, &text);
    json_value(&w, object);
    if (json_writer_finish(&w) == 0)
        *ret = arena_strdup(arena, buf_str(&text));
    buf_free(&text);
    return *ret ? 0 : berm_fail_field(err, rules->name, "%s is too large", rules->name);
}

static int take_member_map(struct arena *arena, const struct json *body, const struct map_rules *rules,
                           const char **ret, struct berm_error *err)
{
    const struct json *object = NULL;

    if (json_field_object(body, rules->name, &object, err) < 0)
        return -1;
    return object ? take_map(arena, object, rules, ret, err) : 0;
}

static int take_body_map(struct arena *arena, const struct json *body, const struct map_rules *rules,
                         const char **ret, struct berm_error *err)
{
    if (!body || body->type != JSON_OBJECT)
        return berm_fail_field(err, "body", "the body must be the %s, as an object of strings", rules->name);
    return take_map(arena, body, rules, ret, err);
}

int env_spec_decode(struct arena *arena, const struct json *body, struct sandbox_settings *ret,
                    struct berm_error *err)
{
    return take_body_map(arena, body, &env_rules, &ret->env, err);
}

int labels_spec_decode(struct arena *arena, const struct json *body, struct sandbox_settings *ret,
                       struct berm_error *err)
{
    return take_body_map(arena, body, &label_rules, &ret->labels, err);
}

/* --- the rest --- */

static int take_sleep_after(const struct json *body, uint64_t *ret, struct berm_error *err)
{
    const struct json *value = json_get(body, "sleepAfter");
    uint64_t ms = 0;
    bool ok = false;

    if (!value || value->type == JSON_NULL)
        return 0;
    if (value->type == JSON_INT && value->integer > 0 && value->integer <= INT32_MAX) {
        ms = (uint64_t)value->integer * 1000;
        ok = true;
    } else if (value->type == JSON_STRING) {
        ok = config_parse_duration(value->string, &ms) == 0;
    }
    if (!ok || ms < 1000 || ms > (uint64_t)365 * 86400000)
        return berm_fail_field(err, "sleepAfter",
                               "sleepAfter must be seconds as a number, or text such as \"90s\", \"10m\", \"2h\"; "
                               "from 1 s to a year");
    *ret = ms;
    return 0;
}

/* What would break out of a line of text, or turn its direction, in a terminal or a page. */
static bool is_invisible(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* A name for people: any text on one line. "" is one, and means none. */
static bool display_name_valid(struct str name)
{
    if (name.n > SANDBOX_NAME_MAX)
        return false;
    while (name.n) {
        const unsigned char *p = (const unsigned char *)name.p;
        int length = utf8_sequence(p, name.n);

        if (length <= 0 || is_invisible(utf8_code_point(p, length)))
            return false;
        name.p += length;
        name.n -= (size_t)length;
    }
    return true;
}

static int take_name(const struct json *body, const char **ret, struct berm_error *err)
{
    if (json_field_cstring(body, "name", ret, err) < 0)
        return -1;
    if (*ret && !display_name_valid(str_from(*ret)))
        return berm_fail_field(err, "name", "name must be at most %d bytes of text without control characters",
                               SANDBOX_NAME_MAX);
    return 0;
}

static int take_image(const struct json *body, const char **ret, struct berm_error *err)
{
    struct str name;

    if (json_field_cstring(body, "image", ret, err) < 0)
        return -1;
    if (!*ret)
        return 0;
    name = str_from(*ret);
    if (image_name_valid(name) || (name.n < IMAGE_NAME_BYTES && str_has_prefix(name, STR("sha256:"))))
        return 0;
    return berm_fail_field(err, "image", "image is not an image name or digest");
}

/* --- the network --- */

static int no_egress(struct berm_error *err)
{
    return berm_fail(err, BERM_E_FORBIDDEN, 0, "the operator has turned the network of sandboxes off");
}

int egress_spec_decode(const struct egress_ceiling *ceiling, struct arena *arena, const struct json *body,
                       const char **ret, struct berm_error *err)
{
    struct egress_policy *policy;
    const char *missing;
    int rc = 0;

    if (!ceiling)
        return no_egress(err);
    if (egress_policy_new(body, ceiling, &policy, err) < 0)
        return -1;
    missing = egress_policy_missing_secret(policy);
    if (missing)
        rc = berm_fail_field(err, "credentials", "credentials: there is no secret %s", missing);
    else if (!(*ret = arena_strdup(arena, str_from(policy->text))))
        rc = berm_fail(err, BERM_E_SYSTEM, ENOMEM, "egress policy");
    egress_policy_unref(policy);
    return rc;
}

static int take_network(const struct egress_ceiling *ceiling, struct arena *arena, const struct json *body,
                        struct sandbox_settings *ret, struct berm_error *err)
{
    const struct json *policy = json_get(body, "egress");
    const char *network = NULL;

    if (json_field_cstring(body, "network", &network, err) < 0)
        return -1;
    if (network && strcmp(network, "internet") && strcmp(network, "none"))
        return berm_fail_field(err, "network", "network must be \"internet\" or \"none\"");
    ret->has_network = network != NULL;
    ret->network = network && !strcmp(network, "internet") ? SPAWN_NETWORK_EGRESS : SPAWN_NETWORK_NONE;
    if (ret->network == SPAWN_NETWORK_EGRESS && !ceiling)
        return no_egress(err);
    if (!policy || policy->type == JSON_NULL)
        return 0;
    if (network && ret->network == SPAWN_NETWORK_NONE)
        return berm_fail_field(err, "egress", "egress has no meaning with network \"none\"");
    ret->has_network = true;
    ret->network = SPAWN_NETWORK_EGRESS;
    return egress_spec_decode(ceiling, arena, policy, &ret->egress, err);
}

int sandbox_spec_decode(const struct config *config, const struct egress_ceiling *ceiling, struct arena *arena,
                        const struct json *body, struct sandbox_settings *ret, struct berm_error *err)
{
    static const char *const known[] = { "name",       "image",     "limits",  "env",   "labels",
                                         "sleepAfter", "keepAlive", "network", "egress" };

    memset(ret, 0, sizeof(*ret));
    if (!body)
        return 0;
    if (body->type != JSON_OBJECT)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the body must be a JSON object");
    if (check_members(body, known, ARRAY_SIZE(known), "", err) < 0 || take_name(body, &ret->name, err) < 0 ||
        take_image(body, &ret->image, err) < 0 || take_limits(config, body, &ret->limits, err) < 0 ||
        take_member_map(arena, body, &env_rules, &ret->env, err) < 0 ||
        take_member_map(arena, body, &label_rules, &ret->labels, err) < 0 ||
        take_sleep_after(body, &ret->sleep_after_ms, err) < 0 || take_network(ceiling, arena, body, ret, err) < 0 ||
        json_field_bool(body, "keepAlive", &ret->keep_alive, err) < 0)
        return -1;
    ret->has_keep_alive = json_get(body, "keepAlive") && json_get(body, "keepAlive")->type == JSON_BOOL;
    return 0;
}
