#include "daemon/egress/credential.h"

#include "daemon/egress/request_fields.h"

/* They have answers coded in ways that the guard does not look into. */
static bool asks_for_coding(struct str name)
{
    static const struct str names[] = { STR_INIT("Accept-Encoding"), STR_INIT("TE"), STR_INIT("A-IM"),
                                        STR_INIT("Sec-WebSocket-Extensions") };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq_nocase(name, names[i]))
            return true;
    return false;
}

static bool replaces(const struct egress_credential *const *credentials, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(credentials[i]->header, name))
            return true;
    return count > 0 && asks_for_coding(name);
}

static int write_field(struct buf *out, struct str name, struct str value)
{
    return buf_append_str(out, name) | buf_append_str(out, STR(": ")) | buf_append_str(out, value) |
           buf_append_str(out, STR("\r\n"));
}

static int write_kept(const struct h1_head *head, const struct egress_credential *const *credentials, size_t count,
                      struct buf *out)
{
    bool upgrades = request_fields_upgrade(head);
    int rc = buf_append_str(out, head->method) | buf_append_str(out, STR(" ")) | buf_append_str(out, head->target) |
             buf_append_str(out, head->minor_version ? STR(" HTTP/1.1\r\n") : STR(" HTTP/1.0\r\n"));

    for (size_t i = 0; i < head->header_count; i++)
        if (!replaces(credentials, count, head->headers[i].name) &&
            (upgrades || !request_field_upgrades(head->headers[i].name)))
            rc |= write_field(out, head->headers[i].name, head->headers[i].value);
    return rc;
}

static const char *write_all_of(const struct h1_head *head, const struct egress_credential *const *credentials,
                                size_t count, const struct secrets *secrets, struct leak_guard *guard,
                                struct buf *out)
{
    int rc = write_kept(head, credentials, count, out);

    for (size_t i = 0; i < count; i++) {
        const struct secret *secret = secrets_find(secrets, credentials[i]->secret);

        if (!secret)
            return "a secret of the policy is not there";
        rc |= write_field(out, credentials[i]->header, secret->value) | leak_guard_add(guard, secret->value);
    }
    rc |= buf_append_str(out, STR("\r\n"));
    return rc < 0 ? "out of resources" : NULL;
}

const char *credentials_write(const struct h1_head *head, const struct egress_credential *const *credentials,
                              size_t count, const struct secrets *secrets, struct leak_guard *guard,
                              struct buf *out)
{
    size_t before = out->len;
    const char *problem = write_all_of(head, credentials, count, secrets, guard, out);

    if (problem)
        out->len = before;
    return problem;
}
