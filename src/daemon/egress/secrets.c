#include "daemon/egress/secrets.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool secret_name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_alnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_' && (name.p[i] != '.' || i == 0))
            return false;
    return name.n > 0 && name.n <= SECRET_NAME_MAX;
}

bool secret_value_valid(struct str value)
{
    if (value.n < SECRET_VALUE_MIN || value.n > SECRET_VALUE_MAX)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] > '~')
            return false;
    return str_trim(value).n == value.n;
}

/* Its place, or the one that it would have. */
static size_t place_of(const struct secrets *secrets, struct str name, bool *ret_there)
{
    size_t low = 0, high = secrets->count;

    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct str other = str_from(secrets->items[middle].name);
        int order = memcmp(name.p, other.p, MIN(name.n, other.n));

        if (order == 0)
            order = (name.n > other.n) - (name.n < other.n);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct secret *secrets_find(const struct secrets *secrets, struct str name)
{
    bool there;
    size_t place = place_of(secrets, name, &there);

    return there ? &secrets->items[place] : NULL;
}

static void wipe(struct str *value)
{
    if (value->p)
        explicit_bzero((char *)(uintptr_t)value->p, value->n);
    free((char *)(uintptr_t)value->p);
    *value = (struct str){ NULL, 0 };
}

static int make_room(struct secrets *secrets)
{
    size_t cap = secrets->cap ? 2 * secrets->cap : 8;
    struct secret *items;

    if (secrets->count == SECRETS_MAX)
        return -1;
    if (secrets->count < secrets->cap)
        return 0;
    items = realloc(secrets->items, cap * sizeof(*items));
    if (!items)
        return -1;
    secrets->items = items;
    secrets->cap = cap;
    return 0;
}

int secrets_set(struct secrets *secrets, struct str name, struct str value, int64_t now_ms)
{
    struct str copy = { str_dup(value), value.n };
    struct secret *item;
    bool there;
    size_t place = place_of(secrets, name, &there);

    if (!copy.p || (!there && make_room(secrets) < 0)) {
        wipe(&copy);
        return -1;
    }
    item = &secrets->items[place];
    if (there) {
        wipe(&item->value);
    } else {
        memmove(item + 1, item, (secrets->count - place) * sizeof(*item));
        secrets->count++;
        str_copy(name, item->name, sizeof(item->name));
    }
    item->value = copy;
    item->set_ms = now_ms;
    return 0;
}

void secrets_remove(struct secrets *secrets, struct str name)
{
    bool there;
    size_t place = place_of(secrets, name, &there);
    struct secret *item = &secrets->items[place];

    if (!there)
        return;
    wipe(&item->value);
    secrets->count--;
    memmove(item, item + 1, (secrets->count - place) * sizeof(*item));
}

void secrets_free(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++)
        wipe(&secrets->items[i].value);
    free(secrets->items);
    *secrets = (struct secrets){ 0 };
}
