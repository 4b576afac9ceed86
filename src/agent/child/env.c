#include "env.h"

struct str env_item_name(const char *item)
{
    return (struct str){ item, strcspn(item, "=") };
}

static bool is_alpha(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

bool env_is_identifier(struct str name)
{
    if (name.n == 0 || !is_alpha(name.p[0]))
        return false;
    for (size_t i = 1; i < name.n; i++)
        if (!is_alpha(name.p[i]) && !(name.p[i] >= '0' && name.p[i] <= '9'))
            return false;
    return true;
}

void env_free(struct env *env)
{
    for (size_t i = 0; i < env->count; i++)
        free(env->items[i]);
    free(env->items);
    *env = (struct env){ 0 };
}

static size_t find(const struct env *env, struct str name)
{
    for (size_t i = 0; i < env->count; i++)
        if (strncmp(env->items[i], name.p, name.n) == 0 && env->items[i][name.n] == '=')
            return i;
    return SIZE_MAX;
}

static int append_take(struct env *env, char *item)
{
    if (env->count == env->cap) {
        size_t cap = env->cap ? env->cap * 2 : 16;
        char **items = reallocarray(env->items, cap, sizeof(*items));
        if (!items) {
            free(item);
            return -1;
        }
        env->items = items;
        env->cap = cap;
    }
    env->items[env->count++] = item;
    return 0;
}

static char *make_item(struct str name, struct str value)
{
    char *item = malloc(name.n + value.n + 2);

    if (!item)
        return NULL;
    memcpy(item, name.p, name.n);
    item[name.n] = '=';
    if (value.n > 0)
        memcpy(item + name.n + 1, value.p, value.n);
    item[name.n + 1 + value.n] = '\0';
    return item;
}

int env_set(struct env *env, struct str name, struct str value)
{
    size_t at = find(env, name);
    char *item = make_item(name, value);

    if (!item)
        return -1;
    if (at == SIZE_MAX)
        return append_take(env, item);
    free(env->items[at]);
    env->items[at] = item;
    return 0;
}

const char *env_get(const struct env *env, const char *name)
{
    struct str key = str_from(name);
    size_t at = find(env, key);

    return at == SIZE_MAX ? NULL : env->items[at] + key.n + 1;
}

void env_remove_nulls(struct env *env, const struct json *object)
{
    for (size_t i = 0; object && i < object->object.count; i++) {
        size_t at;

        if (object->object.members[i].value.type != JSON_NULL ||
            (at = find(env, object->object.members[i].key)) == SIZE_MAX)
            continue;
        free(env->items[at]);
        env->items[at] = env->items[--env->count];
    }
}

int env_init(struct env *env, char *const *variables)
{
    *env = (struct env){ 0 };
    for (; variables && *variables; variables++) {
        struct str name = env_item_name(*variables);
        if ((*variables)[name.n] != '=')
            continue; /* execve(2) lets anything through; a string without '=' is no variable */
        if (env_set(env, name, str_from(*variables + name.n + 1)) < 0) {
            env_free(env);
            return -1;
        }
    }
    return 0;
}

int env_apply(struct env *env, const struct env *over)
{
    for (size_t i = 0; i < over->count; i++) {
        struct str name = env_item_name(over->items[i]);
        if (env_set(env, name, str_from(over->items[i] + name.n + 1)) < 0)
            return -1;
    }
    return 0;
}

static int add_member(struct env *env, const struct json_member *member, const char *field, struct berm_error *err)
{
    const struct json *value = &member->value;
    char *item;

    if (value->type == JSON_NULL)
        return 0;
    if (value->type != JSON_STRING)
        return berm_fail_field(err, field, "every value must be a string");
    if (member->key.n == 0 || memchr(member->key.p, '=', member->key.n) || memchr(member->key.p, 0, member->key.n))
        return berm_fail_field(err, field,
                               "Invalid environment variable name: it must not be empty or hold '=' or NUL");
    if (memchr(value->string.p, 0, value->string.n))
        return berm_fail_field(err, field, "a value must not hold NUL");
    item = make_item(member->key, value->string);
    if (!item || append_take(env, item) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "environment");
    return 0;
}

int env_from_json(struct env *env, const struct json *object, const char *field, struct berm_error *err)
{
    if (!object)
        return 0;
    /* Keys of a parsed object are unique, so none has to be looked up. */
    for (size_t i = 0; i < object->object.count; i++) {
        if (add_member(env, &object->object.members[i], field, err) < 0) {
            env_free(env);
            return -1;
        }
    }
    return 0;
}

char **env_merge(struct arena *arena, const struct env *base, const struct env *over)
{
    size_t extra = over ? over->count : 0;
    char **merged = arena_alloc(arena, (base->count + extra + 1) * sizeof(*merged));
    size_t n = 0;

    if (!merged)
        return NULL;
    for (size_t i = 0; i < base->count; i++)
        if (extra == 0 || find(over, env_item_name(base->items[i])) == SIZE_MAX)
            merged[n++] = base->items[i];
    for (size_t i = 0; i < extra; i++)
        merged[n++] = over->items[i];
    merged[n] = NULL;
    return merged;
}
