#include "daemon/sandbox_egress.h"

#include "base/log.h"
#include "daemon/edge/desk.h"
#include "daemon/lifecycle.h"

#define POLICY_DEPTH 8

uint32_t instance_network(const struct daemon *daemon, uint32_t wanted)
{
    return daemon->host_known && (daemon->host.features & SPAWN_FEATURE_EGRESS) ? wanted : SPAWN_NETWORK_NONE;
}

uint32_t default_network(const struct daemon *daemon)
{
    bool internet = daemon->egress && !strcmp(daemon->config.network, "internet");

    return internet ? SPAWN_NETWORK_EGRESS : SPAWN_NETWORK_NONE;
}

/* --- sockets --- */

static int take_sockets(struct daemon *daemon, struct instance *instance)
{
    int tcp = spawn_link_take_fd(daemon->spawn), udp = spawn_link_take_fd(daemon->spawn);

    if (udp < 0) {
        close_fd(&tcp);
        errno = EPROTO;
        return -1;
    }
    return egress_set_sockets(instance->egress, tcp, udp);
}

static int make_egress(struct daemon *daemon, struct instance *instance)
{
    if (!instance->egress)
        instance->egress = egress_new(daemon->egress, egress_service_policy(daemon->egress));
    return instance->egress ? 0 : -1;
}

int instance_take_egress(struct daemon *daemon, struct instance *instance, const struct spawn_reply *reply)
{
    if (reply->sandbox.network != SPAWN_NETWORK_EGRESS || !daemon->egress)
        return 0;
    if (make_egress(daemon, instance) < 0)
        return -1;
    if (take_sockets(daemon, instance) < 0)
        log_error("egress.down", "error", strerror(errno), "consequence", "a sandbox has no network");
    return 0;
}

static void on_renewed(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct instance *instance = data;
    struct daemon *daemon = instance->daemon;

    (void)reply;
    if (err->code == BERM_E_SPAWNER_UNAVAILABLE) /* adoption comes again */
        return;
    if (err->code != BERM_OK)
        log_error("egress.down", "error", err->message, "consequence", "a sandbox has no network");
    else if (take_sockets(daemon, instance) < 0)
        log_error("egress.down", "error", strerror(errno), "consequence", "a sandbox has no network");
}

void instance_renew_egress(struct daemon *daemon, struct instance *instance, const struct spawn_sandbox *found)
{
    struct spawn_request request = { .op = SPAWN_OP_EGRESS, .key = instance->key };
    struct berm_error err;

    if (found->network != SPAWN_NETWORK_EGRESS || !daemon->egress ||
        (instance->egress && egress_is_up(instance->egress)))
        return;
    instance->daemon = daemon;
    if (make_egress(daemon, instance) < 0 ||
        spawn_link_send(daemon->spawn, &request, on_renewed, instance, &err) < 0)
        log_error("egress.down", "consequence", "a sandbox has no network");
}

void instance_drop_egress(struct daemon *daemon, struct instance *instance)
{
    spawn_link_forget(daemon->spawn, instance);
    desk_free(TAKE_PTR(instance->desk));
    egress_free(TAKE_PTR(instance->egress));
}

/* --- texts of policies --- */

static struct egress_policy *parse_policy(struct daemon *daemon, struct str text, struct berm_error *err)
{
    struct egress_policy *policy = NULL;
    const struct json *body;
    struct arena arena;

    arena_init(&arena, 8 << 20);
    if (json_parse(&arena, text, POLICY_DEPTH, &body, err) == 0)
        egress_policy_new(body, egress_service_ceiling(daemon->egress), &policy, err);
    arena_free(&arena);
    return policy;
}

/* --- whom it trusts --- */

static int parse_authority(const char *text, struct authority **ret, struct berm_error *err)
{
    const struct json *body = NULL;
    struct str key = { NULL, 0 }, certificate = { NULL, 0 };
    struct arena arena;
    int rc = -1;

    arena_init(&arena, 64 << 10);
    if (json_parse(&arena, str_from(text), 2, &body, err) == 0 && json_field_string(body, "key", &key, err) == 0 &&
        json_field_string(body, "certificate", &certificate, err) == 0)
        rc = authority_load(key, certificate, ret, err);
    arena_free(&arena);
    return rc;
}

static int store_authority(struct daemon *daemon, const char *kind, const char *name,
                           const struct authority *authority, struct berm_error *err)
{
    struct buf key, text;
    struct json_writer w;
    int rc;

    buf_init(&key, 4096);
    buf_init(&text, 16384);
    json_writer_init(&w, &text);
    rc = authority_write_key(authority, &key);
    json_object_begin(&w);
    json_pair_string(&w, "key", buf_str(&key));
    json_pair_string(&w, "certificate", authority_certificate(authority));
    json_object_end(&w);
    if (rc < 0 || json_writer_finish(&w) < 0 || buf_append(&text, "", 1) < 0)
        rc = berm_fail(err, BERM_E_SYSTEM, ENOMEM, "certificate authority");
    else
        rc = store_put_document(daemon->store, kind, name, buf_head(&text), err);
    if (key.len)
        explicit_bzero(buf_head(&key), key.len);
    if (text.len)
        explicit_bzero(buf_head(&text), text.len);
    buf_free(&key);
    buf_free(&text);
    return rc;
}

int stored_authority(struct daemon *daemon, const char *kind, const char *name, struct authority **ret,
                     struct berm_error *err)
{
    _cleanup_free_ char *text = NULL;
    struct authority *authority;

    if (store_get_document(daemon->store, kind, name, &text, err) < 0)
        return -1;
    if (text) {
        int rc = parse_authority(text, ret, err);

        explicit_bzero(text, strlen(text));
        return rc;
    }
    if (authority_new(&authority, err) < 0)
        return -1;
    if (store_authority(daemon, kind, name, authority, err) < 0) {
        authority_unref(authority);
        return -1;
    }
    *ret = authority;
    return 0;
}

/* Without one, what would have to be intercepted is refused. */
static void give_authority(struct sandbox *sandbox)
{
    struct egress *egress = sandbox->instance.egress;
    struct authority *authority;
    struct berm_error err;

    if (egress_authority(egress))
        return;
    if (stored_authority(sandbox->daemon, STORE_KIND_AUTHORITY, sandbox->row.id, &authority, &err) < 0) {
        log_error("egress.no_authority", "sandbox", sandbox->row.id, "error", err.message);
        return;
    }
    egress_set_authority(egress, authority);
    authority_unref(authority);
    sandbox->must_configure = true;
    free_ptr(&sandbox->environment); /* told by a call that tells this, too */
}

struct str sandbox_authority(const struct sandbox *sandbox)
{
    const struct egress *egress = sandbox->instance.egress;
    const struct authority *authority = egress && !sandbox->container ? egress_authority(egress) : NULL;

    return authority ? authority_certificate(authority) : STR("");
}

/* --- policy --- */

static void take_policy(struct sandbox *sandbox, struct egress_policy *policy)
{
    if (egress_policy_intercepts(policy))
        give_authority(sandbox);
    egress_set_policy(sandbox->instance.egress, policy);
}

void sandbox_apply_policy(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->daemon;
    struct egress *egress = sandbox->instance.egress;
    struct egress_policy *policy;
    struct berm_error err;

    if (!egress)
        return;
    egress_set_desk(egress, desk_take, sandbox);
    if (sandbox->row.egress[0] == '\0') {
        egress_set_policy(egress, egress_service_policy(daemon->egress));
        return;
    }
    policy = parse_policy(daemon, str_from(sandbox->row.egress), &err);
    if (!policy) { /* the operator's bounds have changed since it was accepted */
        log_error("egress.policy_void", "sandbox", sandbox->row.id, "error", err.message, "consequence",
                  "it has no network until it gets another policy");
        policy = parse_policy(daemon, STR("{\"mode\":\"deny\"}"), &err);
    }
    if (!policy) { /* no memory: better without sockets than with another policy */
        instance_drop_egress(daemon, &sandbox->instance);
        return;
    }
    take_policy(sandbox, policy);
    egress_policy_unref(policy);
}
