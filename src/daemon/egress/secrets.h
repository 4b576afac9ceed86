/*
 * secrets.h - values that the daemon puts into requests of sandboxes, by name. The operator's, for all sandboxes: a
 * policy says which goes where. Here they are in memory; src/daemon/secret_store.c keeps them. No function hands
 * one out but the one that the credential's writer needs.
 */
#pragma once

#include "base/base.h"

#define SECRET_NAME_MAX  64
#define SECRET_VALUE_MIN 8 /* a shorter one would be found in answers that do not hold it (leak_guard.h) */
#define SECRET_VALUE_MAX 4096
#define SECRETS_MAX      1024

struct secret {
    char name[SECRET_NAME_MAX + 1];
    int64_t set_ms;
    struct str value; /* wiped and freed with it */
};

struct secrets {
    struct secret *items; /* in the order of their names */
    size_t count, cap;
};

/* Letters, digits, "-", "_" and "."; not first the dot. */
bool secret_name_valid(struct str name);
/* The value of a header field as it will be sent: visible ASCII, with single spaces or tabs only inside. */
bool secret_value_valid(struct str value);

const struct secret *secrets_find(const struct secrets *secrets, struct str name); /* NULL: there is none */
/* Both valid. -1: no memory, or there are SECRETS_MAX. */
int secrets_set(struct secrets *secrets, struct str name, struct str value, int64_t now_ms);
void secrets_remove(struct secrets *secrets, struct str name);
void secrets_free(struct secrets *secrets);
